"""Images in zip and tar archives: names, limits, damage, resumed runs, heatmaps."""

import io
import tarfile
import zipfile

import pytest
from cinemae.runtime.scan import archives
from cinemae.runtime.scan.archives import archive_members
from cinemae.runtime.scan.inputs import Inputs
from cinemae.runtime.scan.kinds import archive_kind
from cinemae.runtime.scan.scan import scan
from cinemae.runtime.scan.walk import Skipped
from pictures import encoded, json_lines, picture
from scans import scan_options

NAMES = ("a.png", "in/b.JPG", "../x.png", "/x.png", "x.png", "notes.txt", "inner.zip", "__MACOSX/._a.png", "x.png")


@pytest.fixture(scope="module")
def pictures_of():
    return {i: encoded(picture(seed=i), "PNG") for i in range(len(NAMES))}


def zipped(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


def tarred(path, members, mode):
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            link = tarfile.TarInfo(f"link{kind.decode()}.png")
            link.type, link.linkname = kind, "/etc/passwd"
            archive.addfile(link)
    return path


@pytest.fixture(params=["a.zip", "a.tar", "a.tar.gz", "a.tbz2", "a.TAR.XZ"])
def archive(request, tmp_path, pictures_of):
    path = tmp_path / request.param
    members = [(name, pictures_of[i]) for i, name in enumerate(NAMES)]
    if path.suffix == ".zip":
        return zipped(path, members)
    return tarred(path, members, "w:" + {"a.tar": "", "a.tar.gz": "gz", "a.tbz2": "bz2"}.get(request.param, "xz"))


def score(path, engine, **changes):
    return scan(scan_options(path, engine=engine, quiet=True, out=path.parent / "out.jsonl", **changes))


def test_a_named_archive_stands_for_its_images(archive, tiny_engine, tmp_path, pictures_of):
    skipped = Skipped()
    found = list(archive_members(str(archive), skipped))
    assert [item.name.partition("::")[2] for item in found] == [*NAMES[:5], "x.png#2"]
    assert [item.error for item in found] == [None] * 6
    assert skipped.suffixes == {".txt": 1, ".zip": 1, ".png": 1}
    for item, i in zip(found, (0, 1, 2, 3, 4, 8), strict=True):
        for _ in range(2):  # a resumed run reads a member twice
            with item.image() as file:
                assert file.read() == pictures_of[i]
    out, heat = tmp_path / "out.jsonl", tmp_path / "heat"
    assert score(archive, tiny_engine, heatmaps=heat) == 0
    records = json_lines(out.read_bytes())
    assert [record["path"] for record in records] == [item.name for item in found]
    assert len({record["sha256"] for record in records}) == 6
    assert len(list(heat.rglob("*.lcas.png"))) == 6
    assert not (tmp_path.parent / "x.png").exists()
    whole = out.read_bytes()
    for end in (len(whole) // 2, len(whole)):
        out.write_bytes(whole[:end])
        assert score(archive, tiny_engine, resume=True) == 0
        assert [record["logit"] for record in json_lines(out.read_bytes())] == pytest.approx(
            [record["logit"] for record in records], abs=1e-4
        )


def test_archives_in_folders_are_skipped_and_counted(tmp_path, pictures_of):
    zipped(tmp_path / "a.zip", [("a.png", pictures_of[0])])
    inputs = Inputs((str(tmp_path),))
    assert list(inputs) == []
    assert inputs.skipped.suffixes == {".zip": 1}
    names = ("A.ZIP", "a.tgz", "a.gz", "a.png", "zip")
    assert [archive_kind(name) for name in names] == ["zip", "tar", None, None, None]
    zipped(tmp_path / "b.zip", [("b.png", pictures_of[0])])
    assert [item.name[-13:] for item in Inputs((str(tmp_path / "*.zip"),))] == ["/a.zip::a.png", "/b.zip::b.png"]


@pytest.mark.parametrize("cut", [0, 10, 600, -1500])
@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_damaged_archives_end_with_one_error(tmp_path, pictures_of, name, cut):
    members = [(f"{i}.png", pictures_of[i]) for i in range(4)]
    path = tmp_path / name
    if name == "a.zip":
        zipped(path, members)
    else:
        tarred(path, members, "w:gz" if name.endswith("gz") else "w")
    path.write_bytes(path.read_bytes()[:cut] if cut else b"")
    found = list(archive_members(str(path)))
    assert [item.error is not None for item in found] == [False] * (len(found) - 1) + [True]
    assert (found[-1].name, found[-1].error.kind) == (str(path), "damaged")


def test_members_that_cost_too_much(tmp_path, monkeypatch, pictures_of):
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    bomb = [("a.png", pictures_of[0]), ("b.bin", bytes(64 << 20)), ("c.png", pictures_of[1])]
    for path in (zipped(tmp_path / "a.zip", bomb), tarred(tmp_path / "a.tgz", bomb, "w:gz")):
        first, *rest = archive_members(str(path))
        assert first.error is None
        assert [(item.name, item.error.kind) for item in rest] == [(str(path), "too_large")]
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 100)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    few = [(f"{i}.png", pictures_of[i]) for i in range(4)]
    for path in (zipped(tmp_path / "b.zip", few), tarred(tmp_path / "b.tar", few, "w")):
        errors = [item.error for item in archive_members(str(path))]
        assert [error.kind for error in errors] == ["too_large"] * 3
        assert ["are more than 100" in str(error) for error in errors] == [True, True, False]
        assert "more than 2 members" in str(errors[2])


def sparse_member(name, size):
    """A header as GNU tar writes it for a sparse file that is one hole (its manual, "Old GNU Format")."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0" % 0 * 2  # the first region: offset and length
    header[482:495] = b"\0" + b"%011o\0" % size  # no more regions; the size with its holes
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def test_holes_cost_as_much_as_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    path = tmp_path / "a.tar"
    path.write_bytes(b"".join(sparse_member(f"{i}.png", 900_000) for i in range(8)) + bytes(1024))
    *members, last = archive_members(str(path))
    assert (len(members), last.error.kind) == (1, "too_large")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_headers_of_a_tar_that_would_fill_memory(tmp_path, kind):
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 8 << 30
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(9 << 30)  # a hole: it takes no room on the disk
    (only,) = archive_members(str(path))
    assert str(only.error) == "the archive has a header of 8,589,934,592 bytes"


def test_a_zip_whose_directory_would_fill_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_DIRECTORY_BYTES", 10_000)
    (only,) = archive_members(str(zipped(tmp_path / "a.zip", [(f"{i}.txt", b"") for i in range(500)])))
    assert "directory" in str(only.error)


def test_members_of_a_zip_that_expand_all_at_once(tmp_path, tiny_engine, pictures_of):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i, method in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED)):
            archive.writestr(f"{i}.png", pictures_of[0], method)
    assert score(path, tiny_engine) == 1
    records = json_lines((tmp_path / "out.jsonl").read_bytes())
    assert [(record["error"] or {}).get("kind") for record in records] == [None, "unsupported", "unsupported", None]
    assert "bzip2" in records[1]["error"]["text"]
    assert "LZMA" in records[2]["error"]["text"]


def test_compressed_bytes_of_a_member_count(tmp_path, monkeypatch, pictures_of):
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    path = zipped(tmp_path / "a.zip", [("a.png", pictures_of[0])])
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    data[entry + 20 : entry + 24] = (1 << 30).to_bytes(4, "little")  # the compressed size in the directory
    path.write_bytes(data)
    (only,) = archive_members(str(path))
    assert "decompression bomb" in str(only.error)


def test_an_encrypted_or_corrupt_member_is_one_error(tmp_path, tiny_engine, pictures_of):
    path = zipped(tmp_path / "a.zip", [(f"{i}.png", pictures_of[i]) for i in range(3)])
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    data[entry + 8] |= 1  # general purpose flag bit 0 of the first member in the directory
    second = data.index(b"PK\3\4", 4)
    data[second + 60] ^= 255
    path.write_bytes(data)
    assert score(path, tiny_engine) == 1
    records = json_lines((tmp_path / "out.jsonl").read_bytes())
    assert [(record["error"] or {}).get("kind") for record in records] == ["unsupported", "unreadable", None]
    assert "encrypted" in records[0]["error"]["text"]
