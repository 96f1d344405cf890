"""`cinemae-run` as a process: exit codes, messages, interrupts, a table on a terminal, what --help loads."""

import json
import os
import subprocess
import sys

import pytest
from pictures import cinemae_run, five_pictures, folder_of, heeds_sigint, json_lines


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
    assert quiet.returncode == 0
    assert quiet.stderr == b""
    assert [record["path"] for record in json_lines(quiet.stdout)] == ["0.png", "4.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, b"Missing argument"),
        (["a.png", "--format", "xml"], 2, b"unknown format 'xml'"),
        (["a.png", "--threshold", "1.5"], 2, b"between 0 and 1"),
        (["a.png", "--prior", "1"], 2, b"between 0 and 1"),
        (["a.png", "--prior", "much"], 2, b"--prior takes a number between 0 and 1, such as 0.02, not 'much'"),
        (["a.png", "--threshold", "5 %x"], 2, b"--threshold takes a number between 0 and 1"),
        (["--watch", __file__], 2, b"--watch needs a folder that exists"),
        (["a.png", "--settle", "5"], 2, b"--settle: only with --watch"),
        ([".", "--watch", "--settle", "nan"], 2, b"at least 0 seconds"),
        (["a.png", "--ray-actors", "2", "--ray-column", "x"], 2, b"--ray-actors, --ray-column: only with --ray"),
        (["a.png", "--stdin-image"], 2, b"--stdin-image: only with the input -"),
        (["a.png", "--engine", ""], 2, b"--engine is empty"),
        (["a.png", "--resume"], 2, b"--resume"),
        (["@nowhere.txt"], 2, b"no such list"),
        (["a.png", "--engine", "nowhere.onnx"], 3, b"no such engine file"),
        (["a.png", "--device", "abacus"], 2, b"unknown device"),
    ],
)
def test_user_errors_are_one_line_without_a_traceback(arguments, code, message, tiny_engine):
    if code == 2 and arguments and "--engine" not in arguments:
        arguments = [*arguments, "--engine", str(tiny_engine)]
    found = cinemae_run(*arguments)
    assert found.returncode == code
    assert found.stdout == b""
    assert message in found.stderr
    assert b"Traceback" not in found.stderr
    if arguments:
        assert found.stderr.startswith(b"error: ")
        assert found.stderr.count(b"\n") == 1


def test_a_share_may_be_given_in_percent(images, tiny_engine):
    percent, plain = (
        cinemae_run(images, "--engine", tiny_engine, "--prior", prior).stdout for prior in ("2%", "0.02")
    )
    assert percent == plain
    assert json_lines(plain)[0]["prior"] == 0.02


def test_a_folder_that_is_missing_is_called_so(tiny_engine):
    done = cinemae_run("no-such-photos/", "--engine", tiny_engine)
    assert (done.returncode, json_lines(done.stdout)[0]["error"]) == (1, "no such file or folder")


def test_damaged_engine_gives_exit_3_and_touches_no_output(images, tiny_engine, tmp_path):
    broken, out = tmp_path / "broken.onnx", tmp_path / "out.jsonl"
    data = bytearray(tiny_engine.read_bytes())
    data[len(data) // 2] ^= 8
    broken.write_bytes(data)
    out.write_bytes(b'{"path": "earlier results"}\n')
    found = cinemae_run(images, "--engine", broken, "--out", out)
    assert found.returncode == 3
    assert found.stderr.startswith(b"error: ")
    assert found.stderr.count(b"\n") == 1
    assert out.read_bytes() == b'{"path": "earlier results"}\n'


def test_reader_that_leaves_early(tmp_path, tiny_engine):
    folder_of(tmp_path / "many", 300)
    command = [
        sys.executable, "-m", "cinemae.runtime.cli.run", str(tmp_path / "many"),
        "--engine", str(tiny_engine), "-q",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_interrupt(tmp_path, tiny_engine):
    read, write = os.pipe()
    command = [sys.executable, "-m", "cinemae.runtime.cli.run", "-", "--engine", str(tiny_engine), "--batch-size", "1",
               "--workers", "1"]
    with subprocess.Popen(
        command, stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heeds_sigint
    ) as process:
        os.write(write, b"gone.png\n" * 20)
        assert process.stdout.readline().startswith(b'{"path": "gone.png"')
        process.send_signal(2)
        os.close(write)
        assert b"interrupted" in process.stderr.read()
    os.close(read)
    assert process.returncode == 130


def test_table_on_a_terminal(images, tiny_engine):
    import pty

    master, slave = pty.openpty()
    command = [sys.executable, "-m", "cinemae.runtime.cli.run", str(images), "--engine", str(tiny_engine)]
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


def test_help_loads_nothing_heavy(tmp_path):
    code = (
        "import sys\n"
        "from cinemae.runtime.cli.run import main\n"
        "sys.argv = ['cinemae-run', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'onnxruntime', 'numpy', 'PIL', 'pydantic', 'matplotlib'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "HEAVY []" in found.stdout
    assert "--fail-on-ai" in found.stdout


def test_help_lists_the_devices_that_there_are():
    from cinemae.runtime.core.environment import DEVICES

    for module in ("runtime.cli.run", "runtime.serve.cli"):
        found = subprocess.run([sys.executable, "-m", f"cinemae.{module}", "--help"], capture_output=True, text=True)
        assert "|".join(DEVICES) in "".join(found.stdout.split())


def test_version_names_the_package():
    from importlib.metadata import PackageNotFoundError, version

    try:
        expected = f"cinemae {version('cinemae')}"
    except PackageNotFoundError:
        expected = "cinemae (not installed: running from its source tree)"
    assert cinemae_run("--version").stdout.decode().strip() == expected


def test_first_record_does_not_wait_for_the_last_input(tiny_engine, images):
    """Records stream: the first ones are out while stdin is still open."""
    command = [sys.executable, "-m", "cinemae.runtime.cli.run", "-", "--engine", str(tiny_engine), "--quiet",
               "--batch-size", "1", "--workers", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        name = str(images / "0.png").encode() + b"\n"
        process.stdin.write(name * 10)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["status"] == "ok"
        process.stdin.close()
        rest = process.stdout.read().splitlines()
    assert len(rest) == 9


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams(images, tiny_engine, tmp_path, closed):
    """A file that is opened must not take the place of stdout or stderr, and records must not vanish."""
    (images / "3.png").unlink()
    out = tmp_path / "out.jsonl"
    command = f'"{sys.executable}" -m cinemae.runtime.cli.run "{images}" --engine "{tiny_engine}"'
    found = subprocess.run(["sh", "-c", f'{command} --out "{out}" {closed}'], capture_output=True, check=False)
    assert found.returncode == 0
    assert b"Traceback" not in found.stderr
    assert len(json_lines(out.read_bytes())) == 4
    assert found.stdout == b""
    if closed == "1>&-":
        found = subprocess.run(["sh", "-c", f"{command} -q {closed}"], capture_output=True, check=False)
        assert found.returncode == 3
        assert found.stderr == b"error: standard output: cannot be written (Bad file descriptor)\n"


def test_bad_source_date_epoch_is_one_sentence(images, tiny_engine, tmp_path):
    for value in ("yesterday", "1e30", "nan"):
        environment = {**os.environ, "SOURCE_DATE_EPOCH": value}
        found = cinemae_run(images, "--engine", tiny_engine, "-q", "--report", tmp_path / "r.html", env=environment)
        assert found.returncode == 2
        assert found.stderr == b"error: SOURCE_DATE_EPOCH must be a time in seconds since 1970\n"


@pytest.mark.parametrize("module", ["runtime.cli.run", "runtime.cli.bench", "runtime.cli.doctor", "export.cli"])
def test_h_is_help(module):
    command = [sys.executable, "-c", f"from cinemae.{module} import main; main()", "-h"]
    assert b"-h, --help" in subprocess.run(command, capture_output=True, check=True).stdout
