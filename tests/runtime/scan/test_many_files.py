"""Ten thousand files, one in twenty bad: as many records, exit code 1, and no more memory than for five hundred."""

import json
import os
import subprocess

import pytest
from pictures import RUN, folder_of

MANY, FEW, BAD_PER_HUNDRED = 10_000, 500, 5
MEMORY_RATIO = 1.2


def score(folder, engine, out):
    """Exit code and peak resident memory in KiB of one run in a process of its own."""
    command = [*RUN, str(folder), "--engine", str(engine), "--device", "cpu",
               "--threads", "1", "--batch-size", "32", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    messages = process.stderr.read()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss, messages


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="peak memory of a child process needs wait4")
def test_ten_thousand_files(tmp_path, tiny_engine):
    few, many = folder_of(tmp_path / "few", FEW, BAD_PER_HUNDRED), folder_of(tmp_path / "many", MANY, BAD_PER_HUNDRED)
    code_few, memory_few, _ = score(few, tiny_engine, tmp_path / "few.jsonl")
    code, memory, messages = score(many, tiny_engine, tmp_path / "many.jsonl")
    records = [json.loads(line) for line in (tmp_path / "many.jsonl").open("rb")]
    expected = [str(path) for path in sorted(many.rglob("img*"))]
    assert code == code_few == 1
    assert [record["path"] for record in records] == expected
    assert len(records) == MANY
    assert sum(record["status"] == "error" for record in records) == MANY * BAD_PER_HUNDRED // 100
    assert b"10,000 inputs" in messages
    assert b"500 failed" in messages
    assert memory <= memory_few * MEMORY_RATIO, f"{memory} KiB for {MANY} files, {memory_few} KiB for {FEW}"
