"""The recorded list of samples: which files an extraction read, as what, and with which content.

A fit reads the samples of a list, never all that a cache folder holds: a file that was moved to another split, renamed,
replaced or deleted since an earlier extraction is still cached, but no longer listed. A list is a JSONL file, one
object a sample, sorted.

    ROOT/KEY/samples.jsonl                of the last `cinemae-train extract` that finished
    ROOT/KEY/samples-RUN-I-of-N.jsonl     of part I of an extraction in N parts, joined when the last one is there
    CHECKPOINT/samples.jsonl              of a fit: what it trained on and held out
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...runtime.core.errors import UsageError
from ...runtime.core.files import write_text
from ..data.sample import Sample

SAMPLES_FILE = "samples.jsonl"
FIELDS = ("path", "label", "generator", "split", "content")


def _text(samples: Iterable[Sample]) -> str:
    """Each sample once, without its view."""
    unique = sorted({sample.listed for sample in samples})
    lines = (json.dumps({name: getattr(sample, name) for name in FIELDS}, ensure_ascii=True) for sample in unique)
    return "".join(f"{line}\n" for line in lines)


def write_recorded(path: Path, samples: Iterable[Sample]) -> None:
    """Write a list, each sample once, atomically."""
    write_text(path, _text(samples))


def read_recorded(path: Path) -> list[Sample]:
    """Read a list.

    Raises:
        UsageError: there is no list, because no extraction finished, or the file is none.
    """
    try:
        records = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        return [Sample(*(record[name] for name in FIELDS)) for record in records]
    except FileNotFoundError:
        raise UsageError(
            f"{path} is missing: no extraction into this cache has finished; run cinemae-train extract DATA to its end"
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is no list of samples ({error}); extract writes one as {SAMPLES_FILE}") from None


def part_files(folder: Path, run: Sequence[Sample], parts: int) -> list[Path]:
    """The list of each part of an extraction of `run`, which is the same in every part."""
    name = hashlib.sha256(repr([tuple(sample) for sample in run]).encode()).hexdigest()[:8]
    return [folder / f"samples-{name}-{index}-of-{parts}.jsonl" for index in range(parts)]


def start_part(folder: Path, run: Sequence[Sample], shard: tuple[int, int]) -> None:
    """Remove the lists that an extraction's part (i, n) makes anew: no fit reads `SAMPLES_FILE` until it has finished.

    A list that the part itself has left is of an earlier extraction, and so are those of the other parts. Without it a
    part that was killed is run again, and the others count.
    """
    (folder / SAMPLES_FILE).unlink(missing_ok=True)
    part, parts = shard
    files = part_files(folder, run, parts) if parts > 1 else []
    if files and files[part].exists():
        for file in files:
            file.unlink(missing_ok=True)


def record_part(folder: Path, run: Sequence[Sample], shard: tuple[int, int], samples: Iterable[Sample]) -> None:
    """Write the list of an extraction's part; when no part of the run is missing, join them as `SAMPLES_FILE`.

    Args:
        folder: of the cache.
        run: all samples that were to be extracted, the same in every part.
        shard: (i, n), number and count of the parts.
        samples: those that part i extracted.
    """
    part, parts = shard
    if parts == 1:
        write_recorded(folder / SAMPLES_FILE, samples)
        return
    files = part_files(folder, run, parts)
    write_recorded(files[part], samples)
    if all(file.exists() for file in files):
        write_recorded(folder / SAMPLES_FILE, (sample for file in files for sample in read_recorded(file)))
