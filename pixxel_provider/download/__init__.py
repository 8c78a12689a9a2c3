"""Packages of a job's files: fetched from a storage host, checked, and put where they belong."""
