"""`--processes`: the same records as threads give, whatever dies; nothing is left behind."""

import glob
import json
import logging
import os
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from cinemae.runtime.images.pixel_budget import PixelBudget
from cinemae.runtime.images.source import NamedSource
from cinemae.runtime.scan.scan import ScanOptions, scan
from cinemae.runtime.scoring import decode_processes
from cinemae.runtime.scoring.decode_processes import DecodeProcesses
from cinemae.runtime.scoring.detector import Detector
from cinemae.runtime.scoring.pipeline import decode_and_score
from lethal_preparer import LethalPreparer, StillbornPreparer
from moving_pictures import animation, frames_of
from pictures import encoded, heeds_sigint, picture

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the processes of Linux")


@pytest.fixture
def folder(tmp_path):
    """Still images of several kinds, an animation, an archive and broken files."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(9):
        kind = ("PNG", "JPEG", "WEBP")[i % 3]
        (folder / f"{i}.{kind.lower()}").write_bytes(encoded(picture(90 + 7 * i, 80, i), kind))
    (folder / "moving.gif").write_bytes(animation("GIF", frames_of(6)))
    (folder / "wide.png").write_bytes(encoded(picture(500, 60, 3)))
    (folder / "5.broken.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "empty.png").touch()
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("inside.png", encoded(picture(90, 80, 77)))
    return folder


def children():
    """Decoding processes of this one."""
    return [process for process in decode_processes.multiprocessing.active_children() if process.is_alive()]


@pytest.mark.parametrize("tiles", [False, True])
def test_records_are_those_of_threads_byte_by_byte(folder, tiny_engine, tmp_path, tiles):
    outputs = []
    for processes in (False, True):
        out, report = tmp_path / f"{processes}.jsonl", tmp_path / f"{processes}.html"
        options = ScanOptions(
            (str(folder), str(folder / "archive.zip"), str(folder / "missing.png")), engine=tiny_engine, device="cpu",
            threads=1, batch_size=3, workers=2, out=out, report=report, quiet=True, tiles=tiles, processes=processes,
        )
        assert scan(options) == 1
        outputs.append((out.read_bytes(), len(report.read_bytes())))
    assert outputs[0] == outputs[1]
    assert children() == []


@pytest.fixture
def detector(tiny_engine):
    with Detector.load(tiny_engine, "cpu", threads=1) as detector:
        yield detector


def of_kind(kind, detector):
    """The detector's preparer as an object of another class."""
    own = detector.preparer
    return kind(own.manifest, own.frames, own.max_pixels, own.tile_patch)


def run(detector, preparer, files, workers=2):
    rows = detector.rows(3, workers, shared=True)
    with DecodeProcesses(preparer, rows, workers) as processes:
        sources = [NamedSource(str(file), str(file)) for file in files]
        scored = decode_and_score(sources, processes.prepare, detector.begin, 3, workers, rows)
        return [item.record for item in scored]


def images_named(folder, names):
    folder.mkdir(exist_ok=True)
    files = [folder / f"{name}.png" for name in names]
    drawn = [encoded(picture(90, 80, seed)) for seed in range(min(100, len(files)))]
    for i, file in enumerate(files):
        file.write_bytes(drawn[i % 100])
    return files


def test_a_killed_process_is_replaced_and_its_file_decoded_again(detector, tmp_path):
    files = images_named(tmp_path / "x", ["a", "once-b", "c", "once-d", "always-e", "f", "g", "once-h", "i"])
    found = run(detector, of_kind(LethalPreparer, detector), files)
    expected = [detector.detect(str(file)) for file in files]
    assert [record.path for record in found] == [str(file) for file in files]
    assert [record.status for record in found] == ["ok"] * 4 + ["error"] + ["ok"] * 4
    assert "the decoding process died twice at this file (signal 9)" in found[4].error
    alive = [i for i in range(9) if i != 4]
    np.testing.assert_allclose(
        [found[i].logit for i in alive], [expected[i].logit for i in alive], atol=1e-4
    )
    assert children() == []


def test_processes_killed_from_outside_lose_nothing(detector, tmp_path):
    files = images_named(tmp_path / "x", [f"{i:03}" for i in range(60)])
    rows = detector.rows(3, 2, shared=True)
    killed, records = 0, []
    with DecodeProcesses(detector.preparer, rows, 2) as processes:
        for item in decode_and_score(map(str, files), processes.prepare, detector.begin, 3, 2, rows):
            records.append(item.record)
            if len(records) % 12 == 0 and killed < 3 and (running := children()):
                running[0].kill()
                killed += 1
    assert killed == 3
    assert [record.status for record in records] == ["ok"] * 60
    assert len({record.sha256 for record in records}) == 60


def test_where_no_process_can_be_started_threads_decode(detector, tmp_path, caplog):
    files = images_named(tmp_path / "x", "abcd")
    with caplog.at_level(logging.WARNING):
        found = run(detector, of_kind(StillbornPreparer, detector), files)
    assert [record.status for record in found] == ["ok"] * 4
    assert "cannot be started (exit code 7): its files are decoded in a thread" in caplog.text


def test_large_images_are_decoded_by_the_thread(detector, tmp_path, monkeypatch):
    """The processes together hold no more pixels than the threads do."""
    monkeypatch.setattr(decode_processes, "IN_FLIGHT", PixelBudget(2 * 90 * 80))
    (large,) = images_named(tmp_path / "x", ["large"])
    large.write_bytes(encoded(picture(91, 80)))
    (small,) = images_named(tmp_path / "x", ["small"])
    found = run(detector, detector.preparer, [small, large])
    assert [record.status for record in found] == ["ok", "ok"]
    rows = detector.rows(3, 2, shared=True)
    with DecodeProcesses(detector.preparer, rows, 2) as processes:
        decoder = processes._decoders[0]
        assert decoder.decode(str(small), 0).frames
        assert decoder.decode(str(large), 0) is None


def living(group):
    """Processes of a group; not those that have ended and that nobody has waited for."""
    found = []
    for status in glob.glob("/proc/[0-9]*/stat"):
        with suppress(OSError), open(status) as file:
            state, _, of_group = file.read().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state not in "ZX":
                found.append(status)
    return found


def shared_memory():
    """Names of multiprocessing.shared_memory, of all processes; not what browsers keep there."""
    return {name for name in os.listdir("/dev/shm") if name.startswith("psm_")}


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("at_work", [False, True])
def test_signals_end_the_run_and_its_processes(stop, at_work, tmp_path, tiny_engine):
    """Ctrl-C reaches the whole group, the others the command alone."""
    files = images_named(tmp_path / "x", [f"{i:04}" for i in range(3000)])
    out, before = tmp_path / "out.jsonl", shared_memory()
    command = [sys.executable, "-m", "cinemae.runtime.cli.run", str(files[0].parent), "--engine", str(tiny_engine),
               "--device", "cpu", "--threads", "1", "--processes", "--workers", "2", "--out", str(out)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heeds_sigint
    ) as process:
        time.sleep(0.5)
        until = time.monotonic() + 60
        while at_work and time.monotonic() < until and not (out.exists() and out.stat().st_size):
            time.sleep(0.02)
        if stop == signal.SIGINT:
            os.killpg(process.pid, stop)
        else:
            process.send_signal(stop)
        messages = process.communicate(timeout=120)[1]  # ends when the last process has closed stderr
    assert process.returncode == (130 if stop == signal.SIGINT and at_work else process.returncode)
    assert process.returncode != 0
    if at_work:
        assert "Traceback" not in messages
    assert shared_memory() <= before
    until = time.monotonic() + 60  # a decoder notices the end of its pipe after the image at hand
    while living(process.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert living(process.pid) == []
    lines = out.read_text().splitlines() if out.exists() else []
    assert all(json.loads(line)["status"] == "ok" for line in lines)
