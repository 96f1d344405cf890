"""Pictures for people: the HTML report and the LCAS heatmaps."""
