"""Images in zip and tar archives: names, limits, damage, resumed runs, heatmaps."""

import io
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import pytest
from cinemae.runtime.images.walk import Skipped
from cinemae.runtime.scan import archives
from cinemae.runtime.scan.archives import archive_members
from cinemae.runtime.scan.inputs import Inputs
from cinemae.runtime.scan.kinds import archive_kind
from cinemae.runtime.scan.scan import scan
from pictures import encoded, json_lines, picture
from scans import scan_options

NAMES = ("a.png", "in/b.JPG", "../x.png", "/x.png", "x.png", "notes.txt", "inner.zip", "__MACOSX/._a.png", "x.png")
IMAGES = [encoded(picture(seed=i), "PNG") for i in range(len(NAMES))]
FEW = [(f"{i}.png", IMAGES[i]) for i in range(4)]


def archived(path, members):
    """An archive of the kind that its name says; a tar also holds links, devices and folders."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
        return path
    kind = {".tar": "", ".gz": "gz", ".tgz": "gz", ".tbz2": "bz2", ".XZ": "xz"}[path.suffix]
    with tarfile.open(path, f"w:{kind}") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for member in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            link = tarfile.TarInfo(f"link{member.decode()}.png")
            link.type, link.linkname = member, "/etc/passwd"
            archive.addfile(link)
    return path


def score(path, engine, **changes):
    """Exit code and records of a run."""
    out = path.parent / "out.jsonl"
    code = scan(scan_options(path, engine=engine, quiet=True, out=out, **changes))
    return code, json_lines(out.read_bytes())


def kinds(items):
    """Why each input or record failed; None where it did not."""
    errors = [item["error"] if isinstance(item, dict) else item.error for item in items]
    return [error and (error["kind"] if isinstance(error, dict) else error.kind) for error in errors]


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tbz2", "a.TAR.XZ"])
def test_a_named_archive_stands_for_its_images(tiny_engine, tmp_path, name):
    archive = archived(tmp_path / name, list(zip(NAMES, IMAGES, strict=True)))
    skipped = Skipped()
    found = list(archive_members(str(archive), skipped))
    assert [item.name.partition("::")[2] for item in found] == [*NAMES[:5], "x.png#2"]
    assert kinds(found) == [None] * 6
    assert skipped.suffixes == {".txt": 1, ".zip": 1}
    for item, i in zip(found, (0, 1, 2, 3, 4, 8), strict=True):
        for _ in range(2):  # a resumed run reads a member twice
            with item.image() as file:
                assert file.read() == IMAGES[i]
    out, heat = tmp_path / "out.jsonl", tmp_path / "heat"
    code, records = score(archive, tiny_engine, heatmaps=heat)
    assert (code, [record["path"] for record in records]) == (0, [item.name for item in found])
    assert len({record["sha256"] for record in records}) == len(list(heat.rglob("*.lcas.png"))) == 6
    assert not (tmp_path.parent / "x.png").exists()
    whole, logits = out.read_bytes(), [record["logit"] for record in records]
    for end in (len(whole) // 2, len(whole)):
        out.write_bytes(whole[:end])
        code, again = score(archive, tiny_engine, resume=True)
        assert (code, [record["logit"] for record in again]) == (0, pytest.approx(logits, abs=1e-4))


def test_archives_in_folders_are_skipped_and_counted(tmp_path):
    archived(tmp_path / "a.zip", FEW[:1])
    inputs = Inputs((str(tmp_path),))
    assert list(inputs) == []
    assert inputs.skipped.suffixes == {".zip": 1}
    names = ("A.ZIP", "a.tgz", "a.gz", "a.png", "zip")
    assert [archive_kind(name) for name in names] == ["zip", "tar", None, None, None]
    archived(tmp_path / "b.zip", FEW[1:2])
    assert [item.name[-13:] for item in Inputs((str(tmp_path / "*.zip"),))] == ["/a.zip::0.png", "/b.zip::1.png"]


@pytest.mark.parametrize("cut", [0, 10, 600, -1500])
@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_damaged_archives_end_with_one_error(tmp_path, name, cut):
    path = archived(tmp_path / name, FEW)
    path.write_bytes(path.read_bytes()[:cut] if cut else b"")
    *members, last = archive_members(str(path))
    assert kinds(members) == [None] * len(members)
    assert (last.name, last.error.kind) == (str(path), "damaged")


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


def test_members_that_cost_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    bomb = [FEW[0], ("b.bin", bytes(64 << 20)), FEW[1]]
    holes, claims = tmp_path / "holes.tar", archived(tmp_path / "claims.zip", FEW[:1])
    holes.write_bytes(b"".join(sparse_member(f"{i}.png", 900_000) for i in range(8)) + bytes(1024))
    data = bytearray(claims.read_bytes())
    entry = data.index(b"PK\1\2")
    data[entry + 20 : entry + 24] = (1 << 30).to_bytes(4, "little")  # the compressed size in the directory
    claims.write_bytes(data)
    expands = {archived(tmp_path / "a.zip", bomb): 1, archived(tmp_path / "a.tgz", bomb): 1, holes: 1, claims: 0}
    for path, scored in expands.items():
        *members, last = archive_members(str(path))
        assert kinds(members) == [None] * scored
        assert (last.name, "decompression bomb" in str(last.error)) == (str(path), True)
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 100)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    for name in ("b.zip", "b.tar"):
        errors = [item.error for item in archive_members(str(archived(tmp_path / name, FEW)))]
        assert [error.kind for error in errors] == ["too_large"] * 3
        assert ["are more than 100" in str(error) for error in errors] == [True, True, False]


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
    (only,) = archive_members(str(archived(tmp_path / "a.zip", [(f"{i}.txt", b"") for i in range(500)])))
    assert "directory" in str(only.error)


def test_members_of_a_zip_that_are_not_read(tmp_path, tiny_engine):
    """They would expand all at once, or are encrypted or corrupt."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i, method in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED)):
            archive.writestr(f"{i}.png", IMAGES[0], method)
    assert kinds(score(path, tiny_engine)[1]) == [None, "unsupported", "unsupported", None]
    data = bytearray(archived(path, FEW[:3]).read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # general purpose flag bit 0 of the first member in the directory
    data[data.index(b"PK\3\4", 4) + 60] ^= 255
    path.write_bytes(data)
    code, records = score(path, tiny_engine)
    assert (code, kinds(records)) == (1, ["unsupported", "unreadable", None])
    assert "encrypted" in records[0]["error"]["text"]


def rewritten(path, **fields):
    """The archive with fields of its first member changed, in its local header and in the directory."""
    data = bytearray(path.read_bytes())
    for name, value in fields.items():
        for signature, offsets in ((b"PK\3\4", LOCAL), (b"PK\1\2", CENTRAL)):
            at = data.index(signature) + offsets[name]
            data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


LOCAL = {"method": 8, "crc": 14, "size": 22, "name": 30}  # APPNOTE.TXT 4.3.7 and 4.3.12
CENTRAL = {"method": 10, "crc": 16, "size": 24, "name": 46}


def test_a_member_that_holds_more_than_it_states_is_not_inflated(tmp_path):
    stated = 1000
    path = archived(tmp_path / "a.zip", [("a.png", bytes(64 << 20))])
    rewritten(path, size=stated.to_bytes(4, "little"), crc=zlib.crc32(bytes(stated)).to_bytes(4, "little"))
    (member,) = archive_members(str(path))
    tracemalloc.start()
    with member.image() as file:
        assert file.read() == bytes(stated)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 4 << 20


@pytest.mark.parametrize(("method", "words"), [
    (1, "method 1:"), (9, "Deflate64"), (12, "bzip2"), (14, "LZMA"), (93, "Zstandard"), (98, "PPMd"), (99, "encrypted"),
])
def test_methods_that_are_not_read_are_named(tmp_path, method, words):
    path = rewritten(archived(tmp_path / "a.zip", FEW[:2]), method=method.to_bytes(2, "little"))
    first, second = archive_members(str(path))
    assert (first.error.kind, words in str(first.error), second.error) == ("unsupported", True, None)
    assert "unpack the archive first" in str(first.error)


def parts_of(folder, size, comment=b""):
    """A zip split into two parts as Info-ZIP's `zip -s` does; the last one holds the end of the directory."""
    whole = archived(folder / "whole.zip", FEW).read_bytes()
    end = bytearray(whole[whole.rindex(b"PK\5\6") :] + comment)
    end[4:8], end[20:22] = struct.pack("<HH", 1, 1), struct.pack("<H", len(comment))
    whole = b"PK\7\x08" + whole[: whole.rindex(b"PK\5\6")] + bytes(end)
    for name, data in (("a.z01", whole[:size]), ("a.zip", whole[size:])):
        (folder / name).write_bytes(data)
    return folder / "a.zip", folder / "a.z01"


@pytest.mark.parametrize("comment", [b"", b"made by a program " * 100])
def test_a_split_archive_is_one_failed_input(tmp_path, tiny_engine, comment):
    for path in parts_of(tmp_path, 5000, comment):
        code, (only,) = score(path, tiny_engine)
        assert (code, only["path"], only["error"]["kind"]) == (1, str(path), "unsupported")
        assert "`zip -s 0 " in only["error"]["text"]


@pytest.mark.parametrize(("name", "fix"), [
    ("a.zip.001", "`cat NAME.001 "), ("a.tar.gz.002", "`cat NAME.001 "), ("a.TGZ.001", "`cat NAME.001 "),
    ("a.7z", "`7z x NAME`"), ("a.7z.001", "`7z x NAME`"), ("a.part1.RAR", "`7z x NAME`"),
])
def test_archives_that_are_not_read_name_the_program_that_helps(tmp_path, tiny_engine, name, fix):
    (tmp_path / name).write_bytes(archived(tmp_path / "a.zip", FEW).read_bytes()[:500])
    code, (only,) = score(tmp_path / name, tiny_engine)
    assert (code, only["path"], only["error"]["kind"]) == (1, str(tmp_path / name), "unsupported")
    assert only["error"]["text"].startswith("the archive ")
    assert fix in only["error"]["text"]
    assert archive_kind("a.zip.jpg") is archive_kind("a.001") is None


def test_a_split_archive_of_zip64_is_one_failed_input(tmp_path):
    path = archived(tmp_path / "a.zip", FEW)
    data = path.read_bytes()
    end = data.rindex(b"PK\5\6")
    record = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 2, 2, 4, 4, 0, 0)
    locator = b"PK\6\7" + struct.pack("<IQI", 2, end, 3)
    last = b"PK\5\6" + struct.pack("<HHHHIIH", *[0xFFFF] * 4, *[0xFFFFFFFF] * 2, 0)
    path.write_bytes(data[:end] + record + locator + last)
    (only,) = archive_members(str(path))
    assert "`zip -s 0 " in str(only.error)


@pytest.mark.parametrize("encoding", ["shift_jis", "cp866", "utf-8", "gbk"])
def test_names_of_legacy_encodings_keep_their_bytes(tmp_path, tiny_engine, encoding):
    name = {"shift_jis": "テスト表", "cp866": "Фото", "utf-8": "Größe", "gbk": "照片"}[encoding]
    raw = f"{name}.png".encode(encoding)
    path = rewritten(archived(tmp_path / "a.zip", [("x" * len(raw), IMAGES[0])]), name=raw)
    code, (only,) = score(path, tiny_engine)
    shown = only["path"].partition("::")[2]
    assert (code, shown) == (0, raw.decode("utf-8", "backslashreplace"))
    assert (shown == f"{name}.png") == (encoding == "utf-8")
