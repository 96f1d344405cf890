"""Figures of a fitted head on labelled images, as tables and plots."""
