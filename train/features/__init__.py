"""Frozen features of labelled images, cached: one forward an image, then none."""
