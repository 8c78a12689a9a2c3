"""Packages of a job's files: downloaded from a storage host, checked, and stored at their destination."""
