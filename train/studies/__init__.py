"""The paper's studies.

A study is a function that takes an `experiment.Experiment` and a folder for its plots, and returns a
`cinemae.train.reporting.result.StudyResult`: tables, plots and a few sentences. `paper.STUDIES` lists them all.
"""
