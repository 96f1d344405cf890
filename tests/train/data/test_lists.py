"""CSV and JSON lines as lists of labelled images, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.train.data.samples import read_samples


def test_lists(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"x")
    (tmp_path / "x.csv").write_text("path,label,generator\na.jpg,real,\nb,1,midjourney\ngone.png,1,midjourney\n")
    (tmp_path / "x.jsonl").write_text('{"path": "a.jpg", "label": 0}\n\n{"path": "b", "label": "ai", "split": "val"}\n')
    skipped = []
    rows = read_samples(tmp_path / "x.csv", skipped=skipped)
    assert [s[:3] for s in rows] == [(str(tmp_path / "b"), 1, "midjourney"), (str(tmp_path / "a.jpg"), 0, "unnamed")]
    assert [Path(path).name for path, _ in skipped] == ["gone.png"]
    assert [(s.label, s.split) for s in read_samples(tmp_path / "x.jsonl")] == [(0, "test"), (1, "val")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\na.jpg,maybe\n", "line 2.*'maybe'"),
        ("label\n1\n", "no column path; its columns are: label;.*path,label"),
        ("file;class\na.jpg;1\n", "no column path and label; its columns are: file;class;.*commas"),
        ("", "no column path and label; it is empty"),
        ("path,label\n,1\n", "line 2: no path"),
        ("path,label,split\na,1,dev\n", "'dev'"),
    ],
)
def test_list_errors_name_the_line(tmp_path, text, words):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_samples(tmp_path / "x.csv")


def test_a_list_without_splits_says_that_all_of_it_is_test(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "x.csv").write_text("path,label\na.jpg,1\n")
    with pytest.raises(UsageError, match=r"no split 'train'; there are: test.*column split"):
        read_samples(tmp_path / "x.csv", split="train")


def test_bad_jsonl(tmp_path):
    (tmp_path / "y.jsonl").write_text('{"file": "a.jpg"}\n')
    with pytest.raises(UsageError, match="line 1: no field path and label; its fields are: file"):
        read_samples(tmp_path / "y.jsonl")
    (tmp_path / "x.jsonl").write_text("nonsense\n")
    with pytest.raises(UsageError, match="line 1: not JSON"):
        read_samples(tmp_path / "x.jsonl")
