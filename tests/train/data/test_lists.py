"""CSV and JSON lines as lists of labelled images, and what is said of wrong ones."""

from __future__ import annotations

import re
from pathlib import Path

import cinemae.runtime
import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.train.data.samples import read_samples


def test_lists(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"x")
    (tmp_path / "x.csv").write_text("path,label,generator\na.jpg,real,\nb,AI,midjourney\ngone.png,fake,midjourney\n")
    (tmp_path / "x.jsonl").write_text(
        '{"path": "a.jpg", "label": "Real"}\n\n{"path": "b", "label": "ai", "split": "test"}\n'
    )
    skipped = []
    rows = read_samples(tmp_path / "x.csv", skipped=skipped)
    assert [s[:3] for s in rows] == [(str(tmp_path / "b"), 1, "midjourney"), (str(tmp_path / "a.jpg"), 0, "unnamed")]
    assert [Path(path).name for path, _ in skipped] == ["gone.png"]
    assert [(s.label, s.split) for s in read_samples(tmp_path / "x.jsonl")] == [(0, "test"), (1, "test")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\na.jpg,maybe\n", "line 2.*'maybe'"),
        ("label\n1\n", "no column path; its columns are: label;.*path,label"),
        ("file;class\na.jpg;1\n", "no column path and label; its columns are: file, class;.*commas or semicolons"),
        ("", "no column path and label; it is empty"),
        ("path,label\n,ai\n", "line 2: no path"),
        ("path,label,split\na,ai,dev\n", "line 2: split 'dev'"),
        ("path,label\na,ai\nb,\nc,ai\n,real\n", "line 3: no label; fill it in, or write unclear .*; line 5: no path"),
        ("path,label\na.jpg,ai\na.p\0ng,ai\n", "line 3: (the path holds a zero byte|cannot be read)"),
        ('path,label,prompt\na,ai,"a 5 inch screen\nb,real,"say ""hi""\n', r"line 2 to \d+: cannot be read"),
        ('path,label,prompt\nb,real,ok\na,ai,"a 5 inch screen\n', "line 3.*: cannot be read"),
        (f"path,label,prompt\na,ai,{'x' * 131_073}\n", "line 2: cannot be read.*field larger"),
        (f"path,label\n{'x' * 40_000},ai\n", "line 2: the path has 40,000 characters"),
        ("path,label\na,0\nb,1\n", r"the labels are 0, 1: numbers do not say.*--ai 1"),
    ],
)
def test_list_errors_name_the_line(tmp_path, text, words):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_samples(tmp_path / "x.csv")


def test_a_list_without_splits_says_that_all_of_it_is_test(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "x.csv").write_text("path,label\na.jpg,ai\n")
    with pytest.raises(UsageError, match=r"no split 'train'; there are: test.*column split"):
        read_samples(tmp_path / "x.csv", split="train")


def test_bad_jsonl(tmp_path):
    (tmp_path / "y.jsonl").write_text('{"file": "a.jpg"}\n')
    with pytest.raises(UsageError, match="line 1: no field path and label; its fields are: file"):
        read_samples(tmp_path / "y.jsonl")
    (tmp_path / "z.jsonl").write_text('{"path": "a", "label": "ai"}\n{"path": 17, "label": "ai"}\n')
    with pytest.raises(UsageError, match="line 2: the path is no text but 17"):
        read_samples(tmp_path / "z.jsonl")
    (tmp_path / "x.jsonl").write_text("nonsense\n")
    with pytest.raises(UsageError, match="line 1: not JSON"):
        read_samples(tmp_path / "x.jsonl")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_as_spreadsheets_write_them(tmp_path, separator, encoding):
    for name in ("ä,b.jpg", "c;d.jpg"):
        (tmp_path / name).write_bytes(b"x")
    rows = (("Path", "Label", "note"), ('"ä,b.jpg"', "real", "a"), ('"c;d.jpg"', "ai", '"two\nlines, quoted"'))
    (tmp_path / "x.csv").write_text("".join(f"{separator.join(row)}\n" for row in rows), encoding=encoding)
    assert {Path(s.path).name: s.label for s in read_samples(tmp_path / "x.csv")} == {"ä,b.jpg": 0, "c;d.jpg": 1}


@pytest.mark.parametrize(
    ("options", "labels"),
    [({"ai": ("1",)}, [1, 0, 1]), ({"ai": ("0",)}, [0, 1, 0]), ({"real": ("0",)}, [1, 0, 1]),
     ({"ai": ("1",), "real": ("0",)}, [1, 0, 1])],
)
def test_numbers_are_settled_by_an_option(tmp_path, options, labels):
    """CommunityForensics writes 1 for fake; folders FAKE and REAL read in alphabetical order make 0 of it."""
    for name in "abc":
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "x.csv").write_text("path,label\na,1\nb,0\nc,1\n")
    found = {Path(s.path).name: s.label for s in read_samples(tmp_path / "x.csv", **options)}
    assert [found[name] for name in "abc"] == labels


def test_three_numbers_are_not_guessed(tmp_path):
    (tmp_path / "x.csv").write_text("path,label\na,0\nb,1\nc,2\n")
    with pytest.raises(UsageError, match=r"the labels are 0, 1, 2.*numbers"):
        read_samples(tmp_path / "x.csv", ai=("1",))


def test_labels_that_are_generators(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "x.csv").write_text("file,what\na,coco\nb,sdxl\nc,flux\n")
    samples = read_samples(tmp_path / "x.csv", columns="image=file,label=what", real=("coco",), ai=("*",))
    assert {Path(s.path).name: s.label for s in samples} == {"a": 0, "b": 1, "c": 1}
    with pytest.raises(UsageError, match="line 2: label 'coco' names no class; say what it is, --real coco"):
        read_samples(tmp_path / "x.csv", columns="image=file,label=what")
    with pytest.raises(UsageError, match="--columns picture=file: 'picture' is none of image"):
        read_samples(tmp_path / "x.csv", columns="picture=file")


def test_a_list_by_hand_may_leave_out_what_is_unclear(tmp_path, caplog):
    for name in "abc":
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "x.csv").write_text("path,label,note\na,ai,hands\nb,unclear,\nc,real,\n")
    assert {Path(s.path).name for s in read_samples(tmp_path / "x.csv")} == {"a", "c"}
    assert "1 lines without the label of a class left out" in caplog.text


def test_a_review_is_a_list(tmp_path, monkeypatch):
    """The columns and labels that the report's page writes: `reviewCsv` and LABELS of templates/review.js."""
    script = (Path(cinemae.runtime.__file__).parent / "report" / "templates" / "review.js").read_text("utf-8")
    assert 'const LABELS = ["", "AI", "real", "unclear"];' in script
    head = ",".join(re.findall(r'"(\w+)"', re.search(r"const lines = \[\[(.*)\]\]", script)[1])) + "\n"
    assert head == "path,sha256,verdict,likelihood_ratio,probability,reviewed,label,note\n"
    monkeypatch.chdir(tmp_path)
    for name in ("-a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    (tmp_path / "-a.jpg").write_bytes(b"x")
    rows = "'-a.jpg,00,ai,2,0.9,yes,real,\nin/b.jpg,01,real,0.5,0.1,yes,AI,\"odd, hands\"\nin/c.jpg,02,ai,2,0.8,no,,\n"
    rows += "in/d.jpg,03,uncertain,1,0.5,yes,unclear,\n"
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "cinemae-review.csv").write_text("\ufeff" + head + rows, "utf-8")  # of --csv-bom
    samples = read_samples(tmp_path / "downloads" / "cinemae-review.csv")
    assert {s.path: s.label for s in samples} == {"-a.jpg": 0, "in/b.jpg": 1}


def test_records_with_a_label_are_a_list(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    lines = ['{"path": "a.jpg", "status": "ok", "label": "real"}', '{"path": "b.jpg", "status": "ok", "label": "fake"}',
             '{"path": "c.jpg", "status": "ok"}']
    (tmp_path / "out.jsonl").write_text("\n".join(lines))
    assert [(Path(s.path).name, s.label) for s in read_samples(tmp_path / "out.jsonl")] == [("a.jpg", 0), ("b.jpg", 1)]
