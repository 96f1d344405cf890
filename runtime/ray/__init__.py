"""Scoring on a Ray cluster: `cinemae-run --ray`. Needs the extra `ray`."""
