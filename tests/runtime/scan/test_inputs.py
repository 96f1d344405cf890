"""Files, folders, globs, lists and stdin become inputs in a fixed order; nothing that looks like an image is lost."""

import io
import os

import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.text import display_name
from cinemae.runtime.scan.inputs import Inputs, read_names


def paths(*arguments, stdin=None, **options):
    return [item.name for item in Inputs([str(a) for a in arguments], stdin, **options)]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.PNG", "b/10.jpg", "a.jpeg", "b/.hidden.jpg", "b/c/deep.webp", "b/notes.txt", "z.HEIC", "[x].jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_folder_is_walked_in_name_order_and_by_suffix(tree):
    walked = ["./[x].jpg", "./a.jpeg", "./b/.hidden.jpg", "./b/10.jpg", "./b/2.PNG", "./b/c/deep.webp", "./z.HEIC"]
    assert paths(".") == walked


def test_named_files_keep_their_order_suffix_and_duplicates(tree):
    assert paths("z.HEIC", "b/notes.txt", "a.jpeg", "a.jpeg", "gone.jpg") == [
        "z.HEIC", "b/notes.txt", "a.jpeg", "a.jpeg", "gone.jpg",
    ]


def test_globs(tree):
    assert paths("b/*.jpg") == ["b/10.jpg"]
    assert paths("**/*.[jpw]*") == ["[x].jpg", "a.jpeg", "b/10.jpg", "b/c/deep.webp"]
    assert paths("b/*") == ["b/10.jpg", "b/2.PNG", "b/c/deep.webp", "b/notes.txt"]
    assert paths("b/**") == ["b/10.jpg", "b/2.PNG", "b/c/deep.webp", "b/notes.txt"]
    assert paths(str(tree / "?.jpeg")) == [str(tree / "a.jpeg")]
    assert paths("[x].jpg") == ["[x].jpg"]
    (only,) = Inputs(["*.gif"])
    assert (only.name, only.error.kind) == ("*.gif", "missing")


def test_lists_and_stdin(tree):
    (tree / "list.txt").write_bytes(b"\xef\xbb\xbfa.jpeg\r\n\nb\nno such.png")
    listed = ["a.jpeg", "b/.hidden.jpg", "b/10.jpg", "b/2.PNG", "b/c/deep.webp", "no such.png"]
    assert paths("@list.txt") == listed
    assert paths("-", stdin=io.BytesIO(b"a.jpeg\nb\nno such.png\n")) == listed
    assert paths("-", stdin=io.BytesIO(b"a\nb.jpg\0c.jpg\0"), null=True) == ["a\nb.jpg", "c.jpg"]
    with pytest.raises(UsageError, match="--null"):
        paths("-", stdin=io.BytesIO(b"a.jpg\0b.jpg\0"))
    with pytest.raises(UsageError, match="no such list"):
        paths("@absent.txt")
    with pytest.raises(UsageError, match="no list of names"):
        list(read_names(io.BytesIO(b"x" * (2 << 20)), "image.jpg", null=False))


def test_usage_errors():
    for arguments in ([], [""], ["-", "-"]):
        with pytest.raises(UsageError):
            Inputs(arguments)


def test_symlink_loops_end_and_dead_links_are_inputs(tree):
    (tree / "b/c/up").symlink_to(tree)
    (tree / "b/self").symlink_to(tree / "b")
    (tree / "dead.jpg").symlink_to(tree / "nowhere")
    (tree / "loop.png").symlink_to(tree / "loop.png")
    found = paths(".")
    assert len(found) == len(set(found)) == 9
    assert {"./dead.jpg", "./loop.png"} <= set(found)
    assert len(paths("**/*.jpg")) == 3


def test_linked_folder_is_followed_once(tree, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "far.jpg").write_bytes(b"")
    (tree / "b/first").symlink_to(other)
    (tree / "b/second").symlink_to(other)
    assert [path for path in paths("b") if path.endswith("far.jpg")] == ["b/first/far.jpg"]


def test_unreadable_folder_is_an_input_with_an_error(tree, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("c"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (bad,) = [item for item in Inputs(["b"]) if item.error]
    assert (bad.name, bad.error.kind) == ("b/c", "unreadable")
    assert "Permission denied" in str(bad.error)


def test_excluded_folder_is_not_entered(tree):
    assert paths("b", exclude=[str(tree / "b/c")]) == ["b/.hidden.jpg", "b/10.jpg", "b/2.PNG"]
    assert paths("b/**", exclude=[str(tree / "b/c")]) == ["b/10.jpg", "b/2.PNG", "b/notes.txt"]
    assert paths("b/*/*", "b/c/*", exclude=[str(tree / "b/c")]) == ["b/*/*", "b/c/*"]


def test_names_of_any_bytes_survive(tree):
    raw = b"caf\xe9 \xff\n.jpg"
    with open(os.path.join(os.fsencode(tree), b"b", raw), "wb"):
        pass
    (found,) = [path for path in paths("b") if "caf" in path]
    assert os.fsencode(found) == b"b/" + raw
    assert os.path.isfile(found)
    assert display_name(found) == "b/caf\\xe9 \\xff\n.jpg"
    assert display_name("grün/日本.jpg") == "grün/日本.jpg"


def test_enumeration_is_lazy(tree):
    def endless():
        while True:
            yield b"a.jpeg\n" * 10

    class Pipe:
        def __init__(self):
            self.chunks = endless()

        def read1(self, size):
            return next(self.chunks)

        read = read1

    items = iter(Inputs(["-"], Pipe()))
    assert [next(items).name for _ in range(25)] == ["a.jpeg"] * 25


def test_what_named_nothing_is_remembered(tree):
    (tree / "empty").mkdir()
    inputs = Inputs(["empty", "a.jpeg"])
    assert [item.name for item in inputs] == ["a.jpeg"]
    assert inputs.empty == ["empty"]
    assert inputs.count() == 1
    assert not Inputs(["-"]).countable
