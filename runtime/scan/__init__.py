"""`cinemae-run`: from arguments to records, in input order."""
