"""The head fitted on cached features, its probability calibration, and checkpoints."""
