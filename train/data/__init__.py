"""Labelled images, wherever they lie.

`samples.read_data` turns the DATA arguments and options of a command (`options.Data`) into a sorted list of `Sample`s.
What a folder tree means is in `folders` and `layouts`, what a CSV or JSONL list means in `lists`, what is inside files
and on the hub in `packed`; which class a name stands for, everywhere, in `classes`. `Sample.read` gives the bytes of an
image (`stored`). `transforms` change images before the network sees them.

To add a new folder layout:

1. Add one `Layout` to `LAYOUTS` in `layouts.py`: its name, the names of its two class folders in the form of
   `classes.plain`, and its tree for messages. Folders that name a split go to `SPLITS`.
2. Only if another layout has the same class folders, teach `folders.detect` the difference: else the first is found.
3. If the generator is not the first folder below the root that names no split, extend `layouts.generator_of`.
4. Add the published folder names, with their source, as a test in `tests/train/data/test_layouts.py`.

The commands then offer it as `--layout NAME` and find it by themselves with `--layout auto`. A data set in any other
order needs no code: say what its folders are with `--real` and `--ai`, or write a list with path, label and, where
known, generator and split.
"""
