"""Triggers of several providers, each in its turn, wait for the same jobs on one loopback server."""
