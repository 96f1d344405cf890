"""`cinemae run` as a process: exit codes, messages, interrupts, a table on a terminal, closed streams."""

import json
import os
import subprocess

import pytest
from pictures import RUN, cinemae_run, five_pictures, folder_of, heeds_sigint, json_lines


@pytest.fixture
def images(tmp_path):
    return five_pictures(tmp_path / "images")


def test_process_end_to_end_and_determinism(images, tiny_engine):
    first, second = (cinemae_run(images, "--engine", tiny_engine, "--batch-size", 2) for _ in range(2))
    assert first.returncode == 1
    assert len(json_lines(first.stdout)) == 5
    assert first.stdout == second.stdout
    (images / "3.png").unlink()
    quiet = cinemae_run("-", "--engine", tiny_engine, "-q", "-0", input=b"\0".join([b"0.png", b"4.png"]), cwd=images)
    assert (quiet.returncode, quiet.stderr) == (0, b"")
    assert [record["path"] for record in json_lines(quiet.stdout)] == ["0.png", "4.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, b"Missing argument"),
        (["a.png", "--format", "xml"], 2, b"unknown format 'xml'"),
        (["a.png", "--prior", "2"], 2, b"between 0 and 1"),
        (["a.png", "--prior", "much"], 2, b"--prior takes a number between 0 and 1, such as 0.02, not 'much'"),
        (["a.png", "--threshold", "5 %x"], 2, b"--threshold takes a number between 0 and 1"),
        (["a.png", "--frames", "x"], 2, b"first, all or a number from 1 to 100"),
        (["a.png", "--out", "a.xyz"], 2, b"not .xyz"),
        (["a.png", "--stdin-image"], 2, b"--stdin-image: only with the input -"),
        (["a.png", "--engine", ""], 2, b"--engine is empty"),
        (["a.png", "--resume"], 2, b"--resume"),
        (["photos/", "--demo"], 2, b"leave out --demo"),
        (["@nowhere.txt"], 2, b"no such list"),
        (["a.png", "--engine", "nowhere.onnx"], 3, b"no such engine file"),
        (["a.png", "--device", "abacus"], 2, b"unknown device"),
    ],
)
def test_user_errors_are_one_line_without_a_traceback(arguments, code, message):
    found = cinemae_run(*arguments)
    assert (found.returncode, found.stdout) == (code, b"")
    assert message in found.stderr
    assert found.stderr.startswith(b"error: ")
    assert found.stderr.count(b"\n") == 1


def test_damaged_engine_gives_exit_3_and_touches_no_output(images, tiny_engine, tmp_path):
    broken, out = tmp_path / "broken.onnx", tmp_path / "out.jsonl"
    data = bytearray(tiny_engine.read_bytes())
    data[len(data) // 2] ^= 8
    broken.write_bytes(data)
    out.write_bytes(earlier := b'{"path": "earlier", "status": "ok"}\n')
    found = cinemae_run(images, "--engine", broken, "--out", out, "--overwrite")
    assert found.returncode == 3
    assert b"does not match its own hash" in found.stderr
    assert out.read_bytes() == earlier


def test_reader_that_leaves_early(tmp_path, tiny_engine):
    folder_of(tmp_path / "many", 300)
    command = [*RUN, str(tmp_path / "many"), "--engine", str(tiny_engine), "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_records_stream_and_an_interrupt_ends_the_run(tiny_engine):
    """The first ones are out while stdin is still open."""
    command = [*RUN, "-", "--engine", str(tiny_engine), "--batch-size", "1", "--workers", "1"]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, preexec_fn=heeds_sigint, **streams) as process:
        process.stdin.write(b"gone.png\n" * 20)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["path"] == "gone.png"
        process.send_signal(2)
        process.stdin.close()
        assert b"interrupted" in process.stderr.read()
    assert process.returncode == 130


def test_table_on_a_terminal(images, tiny_engine):
    import pty

    master, slave = pty.openpty()
    command = [*RUN, str(images), "--engine", str(tiny_engine)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                chunk = os.read(master, 4096)
            except OSError:  # Linux reports the end of a terminal as an input/output error
                break
            if not chunk:
                break
            shown += chunk
    os.close(master)
    assert process.returncode == 1
    for expected in (b"verdict", b"P(AI)", b"0.png", b"error", b"not a readable image", b"5 inputs"):
        assert expected in shown
    assert b'{"path"' not in shown


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams(images, tiny_engine, tmp_path, closed):
    """A file that is opened must not take the place of stdout or stderr, and records must not vanish."""
    (images / "3.png").unlink()
    out = tmp_path / "out.jsonl"
    command = f'{" ".join(RUN)} "{images}" --engine "{tiny_engine}"'
    found = subprocess.run(["sh", "-c", f'{command} --out "{out}" {closed}'], capture_output=True, check=False)
    assert (found.returncode, found.stdout) == (0, b"")
    assert b"Traceback" not in found.stderr
    assert len(json_lines(out.read_bytes())) == 4
    if closed == "1>&-":
        found = subprocess.run(["sh", "-c", f"{command} -q {closed}"], capture_output=True, check=False)
        assert found.returncode == 3
        assert found.stderr == b"error: standard output: cannot be written (Bad file descriptor)\n"


@pytest.mark.parametrize("value", ["yesterday", "1e30", "nan"])
def test_bad_source_date_epoch_is_one_sentence(images, tiny_engine, tmp_path, value):
    environment = {**os.environ, "SOURCE_DATE_EPOCH": value}
    found = cinemae_run(images, "--engine", tiny_engine, "-q", "--report", tmp_path / "r.html", env=environment)
    assert found.returncode == 2
    assert found.stderr == b"error: SOURCE_DATE_EPOCH must be a time in seconds since 1970\n"
