"""Sensors: hold a pipeline until something at Pixxel has happened."""
