"""Data as it is published: tables, tars and the hub. The bytes survive, names lead back to them, nothing is guessed."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from cinemae.runtime.core.errors import CinemaeError, ImageError, UsageError
from cinemae.train.data import hub as hub_module
from cinemae.train.data.options import Subset
from cinemae.train.data.sample import Sample
from cinemae.train.data.samples import read_data, read_samples, reading_order
from cinemae.train.data.tables import table_rows

pa = pytest.importorskip("pyarrow", reason="needs the data extra")
pytest.importorskip("huggingface_hub", reason="needs the data extra")

from fake_hub import fake_hub  # noqa: E402
from published_sets import (  # noqa: E402
    GENERATORS,
    SETS,
    Picture,
    defactify,
    dragon,
    open_fake,
    open_sdi,
    tar,
    unpacked,
)


def pictures(count: int, names: tuple[str, ...] = ("Real", "ADM", "BigGAN")) -> list[Picture]:
    """Unlike bytes that no decoder needs to understand: readers of data do not open images."""
    return [
        Picture(f"image {i}".encode() * 50, int(i % len(names) > 0), names[i % len(names)]) for i in range(count)
    ]


def check(samples: list[Sample], expected: list[Picture]) -> None:
    """Every picture is there with its own bytes, class and generator."""
    found = Counter((sample.read(), sample.label, sample.generator) for sample in samples)
    assert found == Counter(map(tuple, expected))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    from huggingface_hub import HfFileSystem, constants

    with fake_hub() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", found.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        HfFileSystem.clear_instance_cache()
        hub_module._local.cache_clear()
        yield found


@pytest.fixture
def offline(monkeypatch):
    def switch():
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        hub_module._local.cache_clear()

    return switch


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("where", ["hub", "folder", "file"])
def test_published_schemas(hub, tmp_path, name, where):
    wanted = pictures(250)
    files = SETS[name](wanted)
    options = {"ai": ("1",)} if "Forensics" in name else {}
    if where == "hub":
        commit = hub.commit(f"datasets/{name}", files)
        samples = read_samples(f"hf://datasets/{name}", **options)
        assert all(sample.path.startswith(f"hf://datasets/{name}@{commit}/data/") for sample in samples)
    else:
        folder = unpacked(tmp_path / "set", files)
        data = sorted(map(str, folder.glob("data/*.parquet"))) if where == "file" else [str(folder)]
        samples = read_data(Subset(data=tuple(data), **options))
    check(samples, wanted)
    splits = {"OwensLab/CommunityForensics-Small": {"train"}, "TheKernel01/Tiny-GenImage": {"train", "val"}}
    assert {sample.split for sample in samples} == splits.get(name, {"train", "test"})


def test_numbers_are_refused_with_the_values_and_the_option(tmp_path):
    folder = unpacked(tmp_path, SETS["OwensLab/CommunityForensics-Small"](pictures(30)))
    with pytest.raises(UsageError, match=r"the labels are 0, 1: numbers do not say which class is AI.*--ai 1"):
        read_samples(folder)
    assert {s.label for s in read_samples(folder, ai=("0",)) if s.generator == "ADM"} == {0}


def test_labels_are_read_before_an_image_is_downloaded(hub):
    big = [Picture(random.Random(i).randbytes(200_000), i % 2, "Real") for i in range(40)]
    hub.commit("datasets/a/b", open_fake(big, group=10))
    samples = read_samples("hf://datasets/a/b")
    assert Counter(s.label for s in samples) == {0: 20, 1: 20}
    size = sum(map(len, hub.commits["datasets/a/b"][0][1].values()))
    assert 0 < sum(end - start for start, end in hub.ranges) < size / 2
    before = len(hub.requests)
    train = reading_order([s for s in samples if s.split == "train"])
    assert [len(s.read()) for s in train[:10]] == [len(big[0].data)] * 10
    downloads = [request for request in hub.requests[before:] if "/cdn/" in request]
    assert len(downloads) == 1, "the file with the first ten images, once"


def test_a_split_a_revision_a_folder_and_a_file(hub):
    first = hub.commit("datasets/a/b", open_fake(pictures(60)))
    hub.commit("datasets/a/b", {"data/test-00000-of-00001.parquet": b"damaged"})
    address = f"hf://datasets/a/b@{first}"
    assert {s.split for s in read_samples(f"{address}/train")} == {"train"}
    assert len(read_samples(f"{address}/data/train-00001-of-00002.parquet")) == 15
    assert len(read_samples(f"{address}/data")) == 60
    with pytest.raises(UsageError, match="no split, folder or file 'validation'; splits: test, train"):
        read_samples(f"{address}/validation")
    with pytest.raises(UsageError, match=r"test-00000-of-00001.parquet: is damaged or no such table"):
        read_samples("hf://datasets/a/b/test")
    with pytest.raises(UsageError, match=r"hf://datasets/ORG/NAME\[@REVISION\]\[/SPLIT\]"):
        read_samples("hf://a/b")
    with pytest.raises(CinemaeError, match=r"cannot be fetched.*hf auth login"):
        read_samples("hf://datasets/a/gone")


def test_without_a_network_the_cache_is_read(hub, offline):
    wanted = pictures(60)
    commit = hub.commit("datasets/a/b", open_fake(wanted))
    offline()
    with pytest.raises(CinemaeError, match=r"is not in the hub's cache.*hf download --repo-type dataset a/b"):
        read_samples("hf://datasets/a/b")
    from huggingface_hub import constants, hf_hub_download

    constants.HF_HUB_OFFLINE = False
    for name in ("README.md", "data/train-00000-of-00002.parquet", "data/test-00000-of-00001.parquet"):
        hf_hub_download("a/b", name, repo_type="dataset")
    offline()
    with pytest.raises(CinemaeError, match=r"1 of 2 files like data/train-00000-of-00002.parquet are not in its cache"):
        read_samples("hf://datasets/a/b")
    constants.HF_HUB_OFFLINE = False
    hf_hub_download("a/b", "data/train-00001-of-00002.parquet", repo_type="dataset")
    offline()
    before = len(hub.requests)
    samples = read_samples("hf://datasets/a/b")
    check(samples, wanted)
    assert samples[0].path.startswith(f"hf://datasets/a/b@{commit}/")
    assert len(hub.requests) == before


def test_columns_that_are_generators(tmp_path):
    names = ("coco_image", "sd3_image", "sdxl_image")
    wanted = pictures(30, names)
    folder = unpacked(tmp_path, defactify(wanted))
    samples = read_samples(folder, real=("coco*",), ai=("*",))
    found = Counter((s.read(), s.label) for s in samples)
    assert found == Counter((one.data, one.label) for one in wanted)
    assert {s.generator for s in samples if s.label} == {"sd3_image", "sdxl_image"}
    with pytest.raises(UsageError, match=r"which column holds the label.*--real COLUMN --ai"):
        read_samples(folder)
    with pytest.raises(UsageError, match="whose class is unknown: sd3_image, sdxl_image"):
        read_samples(folder, real=("coco_image",))


def test_splits_that_are_generators(tmp_path):
    names = ("flux", "sd15")
    wanted = [one._replace(label=i % 4 // 2) for i, one in enumerate(pictures(40, names))]
    samples = read_samples(unpacked(tmp_path, open_sdi(wanted)))
    check(samples, wanted)
    assert {s.split for s in samples} == {"train"}


def test_webdataset_tars(hub):
    wanted = pictures(40)
    hub.commit("datasets/lesc/dragon", dragon(wanted))
    with pytest.raises(UsageError, match=r"several configurations; name one.*ExtraSmall\|Small"):
        read_samples("hf://datasets/lesc/dragon")
    with pytest.raises(UsageError, match="numbers do not say"):
        read_samples("hf://datasets/lesc/dragon/Small")
    samples = read_samples("hf://datasets/lesc/dragon/Small", ai=("1",))
    check(samples, wanted)
    assert Counter(s.split for s in samples) == {"train": 20, "test": 20}
    assert len(read_samples("hf://datasets/lesc/dragon/ExtraSmall/train", ai=("1",))) == 10
    named = read_samples("hf://datasets/lesc/dragon/Small", columns="label=model", real=("Real",), ai=("*",))
    check(named, wanted)


def test_tars_of_folders_and_of_one_class(tmp_path):
    (tmp_path / "set").mkdir()
    members = {"train/real/1.jpg": b"r", "train/real/._1.jpg": b"\x00\x05\x16\x07", "train/fake/2.jpg": b"f"}
    (tmp_path / "set" / "part.tar").write_bytes(tar(members))
    assert {(s.read(), s.label) for s in read_samples(tmp_path / "set")} == {(b"r", 0), (b"f", 1)}
    (tmp_path / "two").mkdir()
    for name in ("photos-000", "sdxl-000"):
        (tmp_path / "two" / f"{name}.tar").write_bytes(tar({"1.jpg": name.encode()}))
    with pytest.raises(UsageError, match=r"which column holds the label.*a file of one class: --ai NAME"):
        read_samples(tmp_path / "two")
    found = {s.read(): (s.label, s.generator) for s in read_samples(tmp_path / "two", real=("photos*",), ai=("sdxl*",))}
    assert found == {b"photos-000": (0, "two"), b"sdxl-000": (1, "sdxl-000")}
    (tmp_path / "a.tar").write_bytes(b"\x1f\x8b no tar")
    with pytest.raises(UsageError, match=r"a.tar: cannot be read as a tar archive.*uncompressed"):
        read_samples(tmp_path / "a.tar")


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_arrow_files(tmp_path, kind):
    """Streams are what `datasets.save_to_disk` writes."""
    schema = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.string())])
    rows = [{"image": {"bytes": str(i).encode(), "path": None}, "label": ("real", "fake")[i % 2]} for i in range(95)]
    open_writer = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    with pa.OSFile(str(tmp_path / "data-00000-of-00001.arrow"), "wb") as file, open_writer(file, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema), max_chunksize=20)
    samples = read_samples(tmp_path)
    assert {(s.read(), s.label) for s in samples} == {(str(i).encode(), i % 2) for i in range(95)}


def test_rows_in_any_order_and_what_is_no_image(tmp_path):
    folder = unpacked(tmp_path, open_fake(pictures(150)))
    path = str(folder / "data" / "test-00000-of-00001.parquet")
    rows = table_rows(path, "")
    there = [rows[i] for i in range(75)]
    assert [rows[i] for i in (74, 0, 37, 36, 38, 5)] == [there[i] for i in (74, 0, 37, 36, 38, 5)]
    one = Sample(f"{path}#0", 0, "a", "test")
    assert one.read() == Sample(f"{path}::0", 0, "a", "test").read() == there[0]
    for name, words in ((f"{path}#75", "no row 75; the table has 75"), (f"{path}#0:prompt", "no column 'prompt'"),
                        (f"{tmp_path}/gone.parquet#0", "no such file"), (f"{tmp_path}/README.md::x", "no such file")):
        with pytest.raises((ImageError, UsageError), match=words):
            one._replace(path=name).read()
    empty = unpacked(tmp_path / "e", open_fake([Picture(b"", 0, "a"), Picture(b"", 1, "a")]))
    one = one._replace(path=f"{empty}/data/test-00000-of-00001.parquet#0")
    with pytest.raises(ImageError, match="the row holds no bytes"):
        one.read()


def test_lists_name_rows_and_members(hub, tmp_path):
    hub.commit("datasets/a/b", open_fake(pictures(12)))
    names = [s.path for s in read_samples("hf://datasets/a/b")][:2]
    (tmp_path / "a.tar").write_bytes(tar({"x.jpg": b"x"}))
    lines = [f"{names[0]},real", f"{names[1]},ai", "a.tar::x.jpg,ai"]
    (tmp_path / "x.csv").write_text("path,label\n" + "\n".join(lines))
    samples = read_samples(tmp_path / "x.csv")
    assert {s.absolute for s in samples} == {str(tmp_path / "a.tar::x.jpg"), *names}
    assert all(s.read() for s in samples)


def test_reading_order_reads_every_table_once(tmp_path):
    folder = unpacked(tmp_path, SETS["TheKernel01/Tiny-GenImage"](pictures(60, tuple(GENERATORS))))
    samples = read_samples(folder)
    assert [int(s.path.rpartition("#")[2]) for s in samples] != list(range(48)) + list(range(12))
    ordered = reading_order(samples)
    rows = [(s.path.rpartition("#")[0], int(s.path.rpartition("#")[2])) for s in ordered]
    assert sorted(rows, key=lambda row: (row[0] != rows[0][0], row[1])) == rows


def test_the_share_of_a_table_goes_to_a_test_split(tmp_path):
    folder = unpacked(tmp_path, SETS["OwensLab/CommunityForensics-Small"](pictures(200)))
    samples = read_samples(folder, ai=("1",), test_share=0.2)
    assert 15 < Counter(s.split for s in samples)["test"] < 75
    check(samples, pictures(200))


def test_the_next_command_repeats_what_names_mean():
    options = Subset(data=("hf://datasets/a/b",), ai=("*",), real=("coco image",), columns="label=x", test_share=0.1)
    named = ["--real=coco image", "--ai=*", "--columns=label=x", "--test-share=0.1"]
    assert options.arguments == ["hf://datasets/a/b", *named]
