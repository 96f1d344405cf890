"""What gives the classes of a data set away without looking at a picture."""
