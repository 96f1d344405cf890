"""The command `cinemae-train`: a file for each subcommand, with its options and the work that they start.

Options are fields of documented dataclasses. Nothing heavy is imported until they are checked.
"""
