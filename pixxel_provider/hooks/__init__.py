"""Hooks: the connection to Pixxel, synchronous and asynchronous."""
