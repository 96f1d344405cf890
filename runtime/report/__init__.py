"""The HTML report and the LCAS heatmaps."""
