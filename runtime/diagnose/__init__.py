"""`cinemae-doctor` and `cinemae-bench`: what works on this machine, and how fast."""
