"""Tables, plots and pages of results, and the figures that the paper published."""
