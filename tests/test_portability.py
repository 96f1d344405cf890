"""Rules of Windows that can be kept, and broken, on Linux: which handles are synced, which files can be renamed."""

import errno
import os
from pathlib import Path

import pytest
from cinemae.runtime.core import files
from cinemae.runtime.core.errors import OutputError
from cinemae.runtime.scan.inputs import Inputs
from cinemae.runtime.scan.scan import scan
from pictures import encoded, picture
from scans import scan_options

fcntl = pytest.importorskip("fcntl", reason="fakes the rules of Windows on other systems")


@pytest.fixture
def windows(monkeypatch):
    """No locks, no sync of a handle that only reads, no renaming or removing of a file that is open."""

    def closed_only(name):
        function = getattr(os, name)

        def call(*paths, **options):
            held = {os.path.realpath(f"/proc/self/fd/{handle}") for handle in os.listdir("/proc/self/fd")}
            for path in paths:
                if os.path.realpath(path) in held:
                    raise PermissionError(errno.EACCES, "used by another process", str(path))
            return function(*paths, **options)

        monkeypatch.setattr(os, name, call)

    def fsync(handle):
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        sync(handle)

    sync = os.fsync
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(files, "fcntl", None)
    for name in ("replace", "rename", "unlink", "remove"):
        closed_only(name)


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize("writing", [files.atomic_path, files.exclusive_path])
def test_files_are_replaced_or_left_alone(writing, tmp_path):
    path = tmp_path / "out.json"
    for text in ("old", "new"):
        with writing(path) as temporary:
            temporary.write_text(text)
        assert path.read_text() == text
    with pytest.raises(ZeroDivisionError), writing(path) as temporary:
        temporary.write_text(str(1 / 0))
    assert [file.name for file in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.usefixtures("windows")
def test_an_output_that_stays_empty_is_removed(tmp_path):
    with pytest.raises(OutputError), files.locked(tmp_path / "out.jsonl"):
        raise OutputError("full")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_a_run_writes_and_resumes(kind, tiny_engine, tmp_path):
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    (tmp_path / "a.png").write_bytes(encoded(picture()))
    first = {"report": tmp_path / "r.html", "heatmaps": tmp_path / "heat"}
    for options in (first, {"resume": kind == "jsonl"}):
        options |= {"engine": tiny_engine, "quiet": True, "out": tmp_path / f"out.{kind}"}
        assert scan(scan_options(tmp_path / "a.png", **options)) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["a.png", "heat", f"out.{kind}", "r.html"])


def test_both_separators_part_a_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/sub/b.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(encoded(picture()))
    monkeypatch.setattr(os, "altsep", "\\")
    for pattern in ("in/*.png", "in\\*.png"):
        assert [item.name for item in Inputs([pattern])] == ["in/a.png"]
    assert [item.name for item in Inputs(["in\\**/*.png"])] == ["in/a.png", "in/sub/b.png"]
