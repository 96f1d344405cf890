"""Scores of held-out images become a probability and two thresholds."""
