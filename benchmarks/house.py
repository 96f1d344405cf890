"""Counts of the tree: `python benchmarks/house.py [ROOT]` prints what docs/decisions.md compares."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TRACE = """
import sys, threading
seen = set()
def note(frame, event, _):
    if event == "call":
        seen.add((frame.f_code.co_filename, frame.f_code.co_name))
threading.setprofile(note); sys.setprofile(note)
from cinemae.runtime.cli import run
sys.argv = ["cinemae-run", sys.argv[1], "--quiet", "--overwrite", "--out", sys.argv[2]]
try:
    run.main()
except SystemExit:
    pass
sys.setprofile(None)
files = {name for name, function in seen if "/runtime/" in name and function[0] != "<"  # modules, comprehensions
         and not function.lstrip("_")[:1].isupper()}  # bodies of classes
print(len(files))
"""
"""Files of runtime/ in which a function was called (not only imported) while one image was scored."""


def lines(root: Path, *folders: str) -> int:
    """Lines of all Python files below `folders`, with comments and docstrings."""
    return sum(len(p.read_text("utf-8").splitlines()) for f in folders for p in (root / f).rglob("*.py"))


def main() -> None:
    """Print the counts."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    contract = (root / "pyproject.toml").read_text("utf-8").split('containers = ["cinemae.runtime"]')[1]
    layers = re.search(r"layers = \[(.*?)\]\n", contract, re.DOTALL)
    image = next((root / "runtime").rglob("samples/*.jpg"))
    done = subprocess.run(
        [sys.executable, "-c", TRACE, str(image), "/tmp/house.jsonl"], capture_output=True, text=True, check=True
    )
    print("source lines of train, export, runtime:", lines(root, "train", "export", "runtime"))
    print("test lines:", lines(root, "tests"))
    print(".py files at the top of runtime:", len(list((root / "runtime").glob("*.py"))))
    print("import layers of runtime:", len(re.findall(r'"[^"]+"', layers.group(1))) if layers else 0)
    print("runtime files that execute while one JPEG is scored:", done.stdout.split()[-1])


if __name__ == "__main__":
    main()
