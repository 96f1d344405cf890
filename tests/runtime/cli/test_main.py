"""`cinemae`: one command, whose subcommands are imported when they are called."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from cinemae.runtime.cli.main import COMMANDS
from cinemae.runtime.cli.run import app
from cinemae.runtime.core.environment import DEVICES
from typer.main import get_command

HEAVY = ("torch", "onnxruntime", "onnx", "numpy", "PIL", "matplotlib", "fastapi", "ray")
THERE = [name for name, (module, _) in COMMANDS.items() if find_spec(f"cinemae.{module}")]

FRESH = f"""
import sys
sys.argv = ["cinemae", *sys.argv[1:]]
from cinemae.runtime.cli.main import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("HEAVY", [name for name in {HEAVY!r} if name in sys.modules])
"""


def command(*arguments, **options):
    command = [sys.executable, "-m", "cinemae", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in THERE)], ids=" ".join)
def test_help_loads_nothing_heavy(arguments, tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", FRESH, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert found.stdout.endswith("HEAVY []\n")
    if arguments != ["--version"]:
        assert re.match(rf"Usage: {' '.join(['cinemae', *arguments[:-1]])} \[OPTIONS\]", found.stdout.strip())
        assert "-h, --help" in found.stdout
    if arguments[0] in ("run", "watch", "serve", "ray", "doctor", "bench"):
        assert "|".join(DEVICES) in "".join(found.stdout.split())


def test_the_commands_are_listed_and_named():
    listed = command()
    assert [name for name in COMMANDS if f"\n  {name} " not in (listed.stdout or listed.stderr)] == []
    for arguments in (["--version"], ["run", "--version"]):
        assert command(*arguments).stdout == f"cinemae {version('cinemae')}\n"
    assert re.search(r"Usage: python -m cinemae run \[OPTIONS\] \[?INPUTS", command("run", "-h").stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "error: there is no command 'rum'; did you mean: cinemae run\n"),
        (["photos"], "error: there is no command 'photos'; did you mean: cinemae run photos\n"),
        (["xyz"], "error: there is no command 'xyz'; cinemae --help lists them\n"),
        (["watch", "photos/a.png"], "error: photos/a.png: is no folder; cinemae watch takes folders that exist\n"),
        (["watch", "photos", "--settle", "nan"], "error: a file must stand still for at least 0 seconds, got nan\n"),
        (["watch", "photos", "--out", "o.csv"], "error: cinemae watch continues a JSON-lines file"),
        (["watch"], "Missing argument 'FOLDERS'"),
        (["run", "--watch", "x"], "No such option"),
    ],
)
def test_mistakes_name_what_was_meant(arguments, message, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(b"")
    found = command(*arguments, cwd=tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    assert message in found.stderr
    assert "Traceback" not in found.stderr


def test_a_missing_extra_is_named(tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    found = command("train", "pretrain", str(tmp_path), "--out", "x", env=environment, cwd=tmp_path)
    assert found.returncode == 3
    assert re.fullmatch(r"error: torch is missing; install it with: pip install .*\[train\].*\n", found.stderr)


@pytest.mark.parametrize("words", ["cinemae wat", "cinemae run --fail", "cinemae export --fp1", "cinemae-run --fail"])
def test_commands_and_options_complete_in_a_shell(words):
    """As the script of `--show-completion` asks (typer 0.29.2, _completion_shared.py, COMPLETION_SCRIPT_BASH)."""
    program, *_, last = words.split()
    module = {"cinemae": "runtime.cli.main", "cinemae-run": "runtime.cli.run"}[program]
    code = f"import sys; sys.argv[0] = {program!r}; from cinemae.{module} import main; main()"
    name = program.replace("-", "_").upper()
    asked = {f"_{name}_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked}, timeout=120
    )
    assert [one for one in found.stdout.split() if one.startswith(last)] == found.stdout.split() != []


def test_the_former_names_are_names_of_the_same_functions():
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8")
    declared = dict(re.findall(r'^(cinemae[\w-]*) = "([\w.]+):main"$', text, re.MULTILINE))
    assert declared.pop("cinemae") == "cinemae.runtime.cli.main"
    expected = {f"cinemae-{name}": f"cinemae.{module}" for name, (module, _) in COMMANDS.items()}
    assert {"cinemae-run", "cinemae-train", "cinemae-export", "cinemae-serve"} <= declared.keys()
    assert declared.items() <= expected.items()


def test_the_document_lists_every_option():
    """The table of docs/running.md is what this prints."""
    rows = []
    for option in get_command(app).params:
        if option.name not in ("inputs", "version", "install_completion", "show_completion"):
            value = f" {option.metavar}".replace("|", "\\|") if option.metavar else ""
            default = f" ({option.default})" if option.default else ""
            rows.append(f"| `{', '.join(option.opts)}{value}` | {option.help}{default} |")
    print("\n".join(rows))
    text = (Path(__file__).parents[3] / "docs" / "running.md").read_text("utf-8")
    assert "\n".join(["| option of `cinemae run` | |", "|---|---|", *rows, ""]) in text
