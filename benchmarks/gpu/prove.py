"""The proof of the GPU path on a borrowed GPU, in stages of under ten minutes that go on where they stopped.

    python benchmarks/gpu/prove.py --work DIR tf32                          (0) where onnxruntime-gpu and TensorRT are
    python benchmarks/gpu/prove.py --work DIR export [--checkpoint DIR]     (a) where torch is; no GPU needed
    TRT_PYTHON benchmarks/gpu/prove.py --work DIR build parity latency folder   (b) to (e), without torch
    python benchmarks/gpu/prove.py --work DIR others                        (f) where torch and onnxruntime-gpu are

Rows are appended to DIR/rows.jsonl as they are measured, and a row that is there is not measured again: give the same
command after an interruption, or after it stopped at --minutes. What cannot be measured is a row with its reason.
Exit status: 0 all rows of the stages are there, 1 one failed, was skipped or differs, 75 stopped at --minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from proof_rows import Rows, run_stage
from proof_stages import STAGES

UNFINISHED = 75


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=tuple(STAGES), metavar="STAGE",
                        help=", ".join(STAGES))
    parser.add_argument("--work", type=Path, required=True, help="folder for engines, plans, JPEGs and rows")
    parser.add_argument("--minutes", type=float, default=9.0, help="start no measurement after this time")
    parser.add_argument("--backbone", default="vit_large_patch16")
    parser.add_argument("--checkpoint", type=Path, help="the bundled engine's checkpoint, for stage export")
    parser.add_argument("--largest", type=int, default=128, help="largest batch of the plans")
    parser.add_argument("--images", type=int, default=2000, help="JPEGs of each size in stage folder")
    parser.add_argument("--repeats", type=int, default=30)
    return parser.parse_args()


def main() -> int:
    """Run the stages; see the module."""
    arguments = parse()
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = Rows(arguments.work / "rows.jsonl")
    deadline = time.monotonic() + 60 * arguments.minutes
    for name in arguments.stages:
        if not run_stage(name, STAGES[name], arguments, rows, deadline):
            print(f"stopped in stage {name}: give the same command again to go on", file=sys.stderr)
            return UNFINISHED
    return int(not rows.good())


if __name__ == "__main__":
    sys.exit(main())
