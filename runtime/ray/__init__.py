"""Scoring on a Ray cluster: `cinemae ray`. Needs the extra `ray`."""
