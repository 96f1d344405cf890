"""Audit of a data set: how well its classes can be told apart without looking at a picture."""
