"""The promises for every file of a folder of foreign images, checked on a real run of `cinemae-run` on a folder.

    python tests/corpora.py FOLDER [--count 10000] [--engine FILE]

Every regular file is an input, whatever its name: the test images of image libraries (Pillow, libtiff, libjpeg-turbo,
imageio), fuzzing corpora, backups. Up to --count, damaged copies follow, the same in every run. The folder is scored
twice in one run. What must hold: one record for each file, in order, ok or an error of one line that names the file;
exit code 0 or 1; nothing on stderr; bounded time; memory that stays flat. Where ImageMagick is installed, the pixels of
scored images are compared with what it reads, without --count; differences are listed, not failed: the two disagree
about colour profiles and damaged files.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from cinemae.runtime.images.decode import decode
from cinemae.runtime.images.formats import has_image_suffix
from cinemae.runtime.images.library_messages import silence_libraries

SECONDS_PER_FILE = 5.0
"""On average, over a corpus; the worst files of one are a hundred times slower than its photographs."""
MAX_MIB = 4096
GROWTH = 1.25
"""Largest peak of the second half of a run, in which the same files come again, in terms of that of the first."""
PIXEL_DIFFERENCE = 4.0
"""Mean difference from ImageMagick, of 255: other JPEG decoders and rounding stay below one."""
COMPARED_PIXELS = 4_000_000


def damaged(data: bytes, rng: random.Random) -> bytes:
    """A copy with a few other bytes, most of them near the start, where headers are; a quarter of the copies is cut."""
    copy = bytearray(data)
    for _ in range(rng.choice((1, 4, 16)) if copy else 0):
        copy[int(len(copy) * rng.random() ** 4)] = rng.randrange(256)
    return bytes(copy[: rng.randrange(len(copy) + 1)] if rng.random() < 0.25 else copy)


def gathered(folder: Path, count: int | None, target: Path) -> list[Path]:
    """Links to all regular files below a folder, with an image's suffix; damaged copies in turn up to `count`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise SystemExit(f"{folder}: holds no file")
    links = []
    for number in range(count or len(files)):
        source = files[number % len(files)]
        name = f"{number:06}-{source.name}"
        links.append(target / (name if has_image_suffix(name) else f"{name}.png"))
        if number < len(files):
            links[-1].symlink_to(source.resolve())
        else:
            links[-1].write_bytes(damaged(source.read_bytes(), random.Random(number)))
    return links


def resident_mib(pid: int) -> float:
    """Memory of a process now; 0 once it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


def run(folder: Path, out: Path, engine: Path | None, limit: float) -> tuple[int, bytes, list[float]]:
    """Score a folder twice in one run: exit code, stderr, memory in MiB every tenth of a second."""
    command = [sys.executable, "-m", "cinemae", "run", str(folder), str(folder), "--out", str(out), "--quiet"]
    command += [] if engine is None else ["--engine", str(engine)]
    memory = []
    with out.with_suffix(".err").open("w+b") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr)
        until = time.monotonic() + limit
        while process.poll() is None:
            memory.append(resident_mib(process.pid))
            if time.monotonic() > until:
                process.kill()
            time.sleep(0.1)
        stderr.seek(0)
        return process.returncode, stderr.read(), memory


def broken_promises(paths: list[Path], out: Path, code: int, stderr: bytes, memory: list[float]) -> list[str]:
    """What did not hold, a line each."""
    records = [json.loads(line) for line in out.read_text().splitlines()] if out.is_file() else []
    half, paths = len(memory) // 2, paths * 2
    first, second = max(memory[:half], default=0.0), max(memory[half:])
    found = {
        f"exit code {code}": code not in (0, 1),
        f"stderr: {stderr[:500]!r}": bool(stderr),
        f"{len(records)} records for {len(paths)} files, or another order":
            [record["path"] for record in records] != [str(path) for path in paths],
        f"memory: {max(memory):.0f} MiB": max(memory) > MAX_MIB,
        f"memory grows: {first:.0f} MiB in the first half, {second:.0f} in the second":
            len(paths) >= 1000 and second > GROWTH * first,
    }
    for record in records:
        is_fine = 0 <= record["probability"] <= 1 if record["status"] == "ok" else record["error"]["text"].isprintable()
        found[f"{record['path']}: {record}"] = not is_fine
    return [text for text, is_broken in found.items() if is_broken]


def differing_pixels(out: Path) -> tuple[int, list[str]]:
    """Images compared with ImageMagick, and those that differ."""
    magick = shutil.which("magick") or shutil.which("convert")
    if magick is None:
        return 0, []
    compared, differing = 0, []
    for record in {record["path"]: record for record in map(json.loads, out.read_text().splitlines())}.values():
        if record["status"] != "ok" or record["width"] * record["height"] > COMPARED_PIXELS:
            continue
        options = ["-auto-orient", "-background", "white", "-alpha", "remove", "-colorspace", "sRGB", "-depth", "8"]
        command = [magick, f"{record['path']}[0]", *options, "rgb:-"]
        theirs = subprocess.run(command, capture_output=True, timeout=60, check=False).stdout
        ours = np.asarray(decode(record["path"]))
        if len(theirs) == ours.size:
            compared += 1
            found = np.frombuffer(theirs, np.uint8).reshape(ours.shape)
            difference = np.abs(found.astype(np.int16) - ours).mean()
            if difference > PIXEL_DIFFERENCE:
                differing.append(f"{record['path']}: {difference:.1f} of 255 from ImageMagick")
    return compared, differing


def main() -> int:
    """Run, check, print; 0 when every promise held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, help="files in all; damaged copies fill up")
    parser.add_argument("--engine", type=Path, help="default: the bundled engine")
    options = parser.parse_args()
    silence_libraries()
    with tempfile.TemporaryDirectory(prefix="corpora-") as scratch:
        links, out = Path(scratch) / "files", Path(scratch) / "records.jsonl"
        links.mkdir()
        paths = gathered(options.folder, options.count, links)
        started = time.monotonic()
        code, stderr, memory = run(links, out, options.engine, 60 + SECONDS_PER_FILE * len(paths))
        seconds = time.monotonic() - started
        broken = broken_promises(paths, out, code, stderr, memory)
        compared, differing = (0, []) if options.count else differing_pixels(out)
        text = out.read_text() if out.is_file() else ""
    quarters = [max(part) for part in np.array_split(memory, 4) if len(part)]
    print(f"{len(paths)} files, twice, in {seconds:.0f} s, {text.count(chr(10))} records, exit code {code}")
    print(f"peak memory of each quarter of the run, MiB: {', '.join(f'{peak:.0f}' for peak in quarters)}")
    print(f"{compared} images compared with ImageMagick, {len(differing)} differ", *differing, sep="\n  ")
    print("broken promises:" if broken else "every promise held", *broken, sep="\n  ")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
