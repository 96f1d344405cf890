"""Scoring and serving on a Ray cluster: `cinemae ray`, `cinemae serve --ray`. Needs the extra `ray`."""
