"""`cinemae-run`: one record for each input, in input order."""
