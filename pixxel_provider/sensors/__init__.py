"""Sensors: wait until something at Pixxel has happened."""
