"""From bytes to crops: every source, format and frame of an image becomes uint8 arrays for the network."""
