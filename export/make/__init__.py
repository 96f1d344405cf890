"""`cinemae make`: from labelled data and backbone weights to an engine with its card and a page, in one command.

`make` runs the steps, `plan` says before them what they will take and what the data can promise, `steps` remembers what
is done, `card` writes NAME.md.
"""
