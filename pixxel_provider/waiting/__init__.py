"""How an operator waits, in each mode: what the sensor, the run and the download share."""
