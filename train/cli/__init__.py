"""The command `cinemae-train`: `train` and `studies` parse the options, `train_steps` and `study_steps` do the work."""
