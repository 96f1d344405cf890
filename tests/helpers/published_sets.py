"""Data sets in the form in which they are published on the Hugging Face hub, with pictures of the caller's.

Schemas, paths and card metadata are those of the cards (README.md), by commit:
- OwensLab/CommunityForensics-Small 6c539a5: data/*.parquet, all of split train; `image_data` holds the file's bytes, as
  github.com/JeongsooP/Community-Forensics dataloader.py reads them (`Image.open(io.BytesIO(data['image_data']))`,
  `int(data['label'])`, `data['model_name']`); label 1 fake, 0 real (CommunityForensics-Eval 7d4a74a).
- TheKernel01/Tiny-GenImage 89c4fe9: ClassLabels label (real, fake), generator (Real, ADM, ...); train and validation.
- ComplexDataLab/OpenFake 2bb87f8: image, prompt, label "real" or "fake", model; train and test.
- NasrinImp/Defactify4_Train 7df0190: a column of images for each generator, no label.
- nebula/OpenSDI_train 855b629: key, image, mask, ClassLabel label; each generator is a split.
- lesc-unifi/dragon b97271f: webdataset tars, sizes as configurations, patterns as data files. What its members are
  called is not in the card; here they are the format's (github.com/webdataset/webdataset): KEY.png, .json, .cls.
Columns of images are structs of bytes and path, and ClassLabels integers with names in the schema's metadata, as
`datasets` 5.2 writes them (features/features.py, `Features.arrow_schema`), in row groups of 100 rows.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
GENERATORS = ["Real", "ADM", "BigGAN", "GLIDE", "Midjourney", "SD14", "SD15", "VQDM", "Wukong"]


class Picture(NamedTuple):
    """A picture to publish: its file's bytes, class (1 AI) and generator."""

    data: bytes
    label: int
    generator: str


def table(rows: Sequence[dict], features: dict[str, tuple[pa.DataType, dict]], group: int = 100) -> bytes:
    """A Parquet file with the metadata of `datasets`."""
    named = {name: feature for name, (_, feature) in features.items()}
    schema = pa.schema([(name, kind) for name, (kind, _) in features.items()],
                       metadata={b"huggingface": json.dumps({"info": {"features": named}}).encode()})
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer, row_group_size=group)
    return buffer.getvalue()


def value(kind: str) -> dict:
    return {"dtype": kind, "_type": "Value"}


def class_label(names: Sequence[str]) -> dict:
    return {"names": list(names), "_type": "ClassLabel"}


def card(configs: str) -> bytes:
    return f"---\nconfigs:\n{configs}---\n# Card\n".encode()


def data_files(**splits: str) -> str:
    lines = [f"  - split: {split}\n    path: {path}\n" for split, path in splits.items()]
    return "- config_name: default\n  data_files:\n" + "".join(lines)


def parts(pictures: Sequence[Picture], count: int) -> list[Sequence[Picture]]:
    return [pictures[i::count] for i in range(count)]


def community_forensics(pictures: Sequence[Picture]) -> dict[str, bytes]:
    files = {"README.md": card(data_files(train="\n    - data/*.parquet"))}
    kinds = {"image_name": pa.string(), "format": pa.string(), "resolution": pa.string(), "mode": pa.string(),
             "image_data": pa.binary(), "model_name": pa.string(), "nsfw_flag": pa.bool_(), "prompt": pa.string(),
             "real_source": pa.string(), "subset": pa.string(), "split": pa.string(), "label": pa.int64(),
             "architecture": pa.string()}
    schema = pa.schema(list(kinds.items()))
    for number, own in enumerate(parts(pictures, 2)):
        rows = [
            {"image_name": f"{i:08d}.png", "format": "PNG", "resolution": "[512, 512]", "mode": "RGB",
             "image_data": one.data, "model_name": one.generator, "nsfw_flag": False, "prompt": "", "real_source": "",
             "subset": "Systematic", "split": "train", "label": one.label, "architecture": "LatDiff"}
            for i, one in enumerate(own)
        ]
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer, row_group_size=100)
        files[f"data/{number:06d}.parquet"] = buffer.getvalue()
    return files


def tiny_genimage(pictures: Sequence[Picture]) -> dict[str, bytes]:
    """Generators are those of `GENERATORS`."""
    features = {"image": (IMAGE, {"_type": "Image"}), "label": (pa.int64(), class_label(["real", "fake"])),
                "generator": (pa.int64(), class_label(GENERATORS))}
    files = {"README.md": card(data_files(train="data/train-*", validation="data/validation-*"))}
    count = len(pictures) * 4 // 5
    for split, own in (("train", pictures[:count]), ("validation", pictures[count:])):
        rows = [{"image": {"bytes": one.data, "path": f"{i}.png"}, "label": one.label,
                 "generator": GENERATORS.index(one.generator)} for i, one in enumerate(own)]
        files[f"data/{split}-00000-of-00001.parquet"] = table(rows, features)
    return files


def open_fake(pictures: Sequence[Picture], group: int = 100) -> dict[str, bytes]:
    features = {"image": (IMAGE, {"_type": "Image"}), "prompt": (pa.string(), value("string")),
                "label": (pa.string(), value("string")), "model": (pa.string(), value("string"))}
    files = {"README.md": card(data_files(train="data/train-*", test="data/test-*"))}
    half = len(pictures) // 2
    for split, count, own in (("train", 2, pictures[:half]), ("test", 1, pictures[half:])):
        for number, part in enumerate(parts(own, count)):
            rows = [{"image": {"bytes": one.data, "path": f"{i}.png"}, "prompt": "a", "model": one.generator,
                     "label": ("real", "fake")[one.label]} for i, one in enumerate(part)]
            files[f"data/{split}-{number:05d}-of-{count:05d}.parquet"] = table(rows, features, group=group)
    return files


def defactify(pictures: Sequence[Picture]) -> dict[str, bytes]:
    """Generators are columns; each has as many pictures as the others."""
    columns = {name: [one.data for one in pictures if one.generator == name]
               for name in dict.fromkeys(one.generator for one in pictures)}
    features = {"caption": (pa.string(), value("string")), **dict.fromkeys(columns, (IMAGE, {"_type": "Image"}))}
    rows = [{"caption": "a", **{name: {"bytes": data, "path": None} for name, data in zip(columns, row, strict=True)}}
            for row in zip(*columns.values(), strict=True)]
    return {"README.md": card(data_files(train="data/train-*")),
            "data/train-00000-of-00001.parquet": table(rows, features)}


def open_sdi(pictures: Sequence[Picture]) -> dict[str, bytes]:
    features = {"key": (pa.string(), value("string")), "image": (IMAGE, {"_type": "Image"}),
                "mask": (IMAGE, {"_type": "Image"}), "label": (pa.int64(), class_label(["real", "fake"]))}
    names = sorted({one.generator for one in pictures})
    files = {"README.md": card(data_files(**{name: f"data/{name}-*" for name in names}))}
    for name in names:
        rows = [{"key": str(i), "image": {"bytes": one.data, "path": None}, "mask": {"bytes": b"mask", "path": None},
                 "label": one.label} for i, one in enumerate(pictures) if one.generator == name]
        files[f"data/{name}-00000-of-00001.parquet"] = table(rows, features)
    return files


def tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def dragon(pictures: Sequence[Picture]) -> dict[str, bytes]:
    configs = "".join(
        data_files(train=train, test=test).replace("default", name)
        for name, train, test in (("ExtraSmall", "train/xs/dragon_train_xs.tar", "test/dragon_test_00.tar"),
                                  ("Small", "train/dragon_train_0??.tar", "test/dragon_test_0?.tar"))
    )
    half = len(pictures) // 2

    def shard(own: Sequence[Picture]) -> bytes:
        members = {}
        for i, one in enumerate(own):
            members[f"{i:09d}.png"] = one.data
            members[f"{i:09d}.json"] = json.dumps({"model": one.generator}).encode()
            members[f"{i:09d}.cls"] = str(one.label).encode()
        return tar(members)

    return {"README.md": card(configs), "train/xs/dragon_train_xs.tar": shard(pictures[: half // 2]),
            "train/dragon_train_000.tar": shard(pictures[:half]), "test/dragon_test_00.tar": shard(pictures[half:])}


SETS: dict[str, Callable[[Sequence[Picture]], dict[str, bytes]]] = {
    "OwensLab/CommunityForensics-Small": community_forensics,
    "TheKernel01/Tiny-GenImage": tiny_genimage,
    "ComplexDataLab/OpenFake": open_fake,
}


def unpacked(folder: Path, files: dict[str, bytes]) -> Path:
    """`folder` with files of these names and contents."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
