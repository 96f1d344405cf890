"""Figures of a fitted head on labelled images: `evaluate` scores, `metrics` computes, `report` writes and plots."""
