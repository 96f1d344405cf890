"""The paper's studies.

A study is a function that returns a `result.StudyResult`: tables, plots and a few sentences. Studies of cached features
take an `experiment.Experiment`; those that extract features or train the network take `study_data.StudyData` too.
`paper.Studies` lists them all and runs each once into a folder of its own.
"""
