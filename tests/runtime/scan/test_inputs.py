"""Files, folders, globs, lists and stdin become inputs in a fixed order; nothing that looks like an image is lost."""

import io
import itertools
import os

import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.text import display_name
from cinemae.runtime.scan.inputs import Inputs, read_names
from cinemae.runtime.scan.kinds import local_path


def paths(*arguments, stdin=None, **options):
    return [item.name for item in Inputs([str(a) for a in arguments], stdin, **options)]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.PNG", "b/10.jpg", "a.jpeg", "b/.hidden.jpg", "b/c/deep.webp", "b/notes.txt", "z.HEIC", "[x].jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


IN_B = ["b/10.jpg", "b/2.PNG", "b/c/deep.webp", "b/notes.txt"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["."], ["./[x].jpg", "./a.jpeg", "./b/.hidden.jpg", "./b/10.jpg", "./b/2.PNG", "./b/c/deep.webp", "./z.HEIC"]),
        (["z.HEIC", "b/notes.txt", "b/2.PNG", "b/2.PNG", "no"], ["z.HEIC", "b/notes.txt", "b/2.PNG", "b/2.PNG", "no"]),
        (["b/*.jpg"], ["b/10.jpg"]),
        (["**/*.[jpw]*"], ["[x].jpg", "a.jpeg", "b/10.jpg", "b/c/deep.webp"]),
        (["b/*"], IN_B),
        (["b/**"], IN_B),
        (["[x].jpg"], ["[x].jpg"]),
    ],
)
def test_order_of_files_folders_and_patterns(tree, arguments, expected):
    assert paths(*arguments) == expected
    assert paths(*(tree / argument for argument in arguments)) == [str(tree / name) for name in expected]


def test_a_pattern_without_a_match_is_an_input_with_an_error(tree):
    (only,) = Inputs(["*.gif"])
    assert (only.name, only.error.kind) == ("*.gif", "missing")


def test_lists_and_stdin(tree):
    (tree / "list.txt").write_bytes(b"\xef\xbb\xbfa.jpeg\r\n\nb\nno such.png")
    listed = ["a.jpeg", "b/.hidden.jpg", "b/10.jpg", "b/2.PNG", "b/c/deep.webp", "no such.png"]
    assert paths("@list.txt") == paths("-", stdin=io.BytesIO(b"a.jpeg\nb\nno such.png\n")) == listed
    assert paths("-", stdin=io.BytesIO(b"a\nb.jpg\0c.jpg\0"), null=True) == ["a\nb.jpg", "c.jpg"]
    with pytest.raises(UsageError, match="--null"):
        paths("-", stdin=io.BytesIO(b"a.jpg\0b.jpg\0"))
    with pytest.raises(UsageError, match="no list of names"):
        list(read_names(io.BytesIO(b"x" * (2 << 20)), "image.jpg", null=False))
    for arguments in ([], [""], ["-", "-"], ["@absent.txt"]):
        with pytest.raises(UsageError):
            Inputs(arguments)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("step", [1, 3, 1 << 16])
def test_lists_in_the_encoding_of_their_byte_order_mark(tree, encoding, step):
    """Windows PowerShell's `>` writes UTF-16, its Out-File -Encoding utf8 a mark, too."""
    names = ["a.jpeg", "b/ö 日本.png", "no.png", "\U0001f600.png"]
    data = "\ufeff".encode(encoding) + "\r\n".join(names).encode(encoding)

    class Slow(io.BytesIO):
        def read1(self, size=-1):
            return super().read1(min(size, step))

    assert list(read_names(Slow(data), "list", null=False)) == names
    (tree / "list.txt").write_bytes(data)
    assert paths("@list.txt") == names
    with pytest.raises(UsageError, match=r"byte-order mark.*without --null"):
        paths("@list.txt", null=True)


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_its_mark_is_no_list_of_letters(tree, encoding, null):
    with pytest.raises(UsageError, match=r"list: seems to be UTF-16.*save it as UTF-8"):
        list(read_names(io.BytesIO("a.jpeg\r\nb\r\n".encode(encoding)), "list", null))
    for names in (["."], [".", "./a.jpeg"], ["a", "b", "c", "d"]):
        data = "".join(f"{name}\0" for name in names).encode()
        assert not null or list(read_names(io.BytesIO(data), "list", null)) == names


def test_lists_that_a_file_manager_copied(tree, monkeypatch):
    (tree / "a b.png").touch()
    (tree / '"q.png"').touch()
    listed = ('"a b.png"', '"q.png"', '""', '"', f"file://{tree}/a%20b.png", f"FILE://localhost{tree}/%C3%B6.png")
    expected = ["a b.png", '"q.png"', '""', '"', f"{tree}/a b.png", f"{tree}/ö.png"]
    data = "\n".join(listed).encode()
    assert paths("-", stdin=io.BytesIO(data)) == expected
    assert paths("-", stdin=io.BytesIO(b'"a b.png"\0'), null=True) == ['"a b.png"']
    assert paths(f"file://{tree}/b", "file://server/x.png") == [f"{tree}/{name}" for name in (
        "b/.hidden.jpg", "b/10.jpg", "b/2.PNG", "b/c/deep.webp")] + ["file://server/x.png"]
    assert paths("file:///caf%E9.png", "file:///%00.png") == ["/caf\udce9.png", "/\0.png"]
    monkeypatch.setattr(os, "sep", "\\")
    assert local_path("file:///C:/a%20b.png") == "C:/a b.png"


def test_links_are_followed_once_and_dead_ones_are_inputs(tree, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "far.jpg").write_bytes(b"")
    for link, target in {"b/c/up": tree, "b/self": tree / "b", "dead.jpg": "nowhere", "loop.png": "loop.png",
                         "b/first": other, "b/second": other}.items():
        (tree / link).symlink_to(target)
    found = paths(".")
    assert len(found) == len(set(found)) == 10
    assert {"./dead.jpg", "./loop.png", "./b/first/far.jpg"} <= set(found)
    assert len(paths("**/*.jpg")) == 3


def test_excluded_folder_is_not_entered(tree):
    exclude = [str(tree / "b/c")]
    assert paths("b", exclude=exclude) == ["b/.hidden.jpg", "b/10.jpg", "b/2.PNG"]
    assert paths("b/**", exclude=exclude) == ["b/10.jpg", "b/2.PNG", "b/notes.txt"]
    assert paths("b/*/*", "b/c/*", exclude=exclude) == ["b/*/*", "b/c/*"]


def test_names_of_any_bytes_survive(tree):
    raw = b"caf\xe9 \xff\n.jpg"
    with open(os.path.join(os.fsencode(tree), b"b", raw), "wb"):
        pass
    (found,) = [path for path in paths("b") if "caf" in path]
    assert os.fsencode(found) == b"b/" + raw
    assert os.path.isfile(found)
    assert display_name(found) == "b/caf\\xe9 \\xff\n.jpg"
    assert display_name("grün/日本.jpg") == "grün/日本.jpg"
    assert display_name("\ud800\udbff\udc00\udcff\udfff.jpg") == "\\ud800\\udbff\\udc00\\xff\\udfff.jpg"


def test_enumeration_is_lazy(tree):
    class Endless:
        def read1(self, size):
            return b"a.jpeg\n" * 10

        read = read1

    assert [item.name for item in itertools.islice(Inputs(["-"], Endless()), 25)] == ["a.jpeg"] * 25


def test_what_named_nothing_is_remembered(tree):
    (tree / "empty").mkdir()
    inputs = Inputs(["empty", "a.jpeg"])
    assert [item.name for item in inputs] == ["a.jpeg"]
    assert (inputs.empty, inputs.count()) == (["empty"], 1)
    assert not Inputs(["-"]).countable
