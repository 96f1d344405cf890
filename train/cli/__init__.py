"""`cinemae-train`: parse and call."""
