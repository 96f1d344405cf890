"""Scores of held-out images become a likelihood ratio and two thresholds."""
