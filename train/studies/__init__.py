"""The paper's studies, each one command with a table and a plot."""
