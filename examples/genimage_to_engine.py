"""From MAE weights and a GenImage folder to a calibrated, exported, checked fp16 engine, in one command.

    python examples/genimage_to_engine.py facebook/vit-mae-large /data/GenImage runs/genimage [stable_diffusion_v_1_4]

A stopped run is continued by the same command: what was extracted stays. The last argument is the generator to train
on, else all. Ends with a table of time and peak memory a step, in OUT/steps.md.
"""

import os
import sys
import time
from pathlib import Path

BACKBONE, DATA, OUT = sys.argv[1], sys.argv[2], Path(sys.argv[3])
TRAINED = ["-g", sys.argv[4]] if len(sys.argv) > 4 else []
CHECKPOINT, MODELS = str(OUT / "checkpoint"), str(OUT / "models")
USE = ["--cache", str(OUT / "cache")]

STEPS = {
    "extract": ["cinemae", "train", "extract", DATA, "--backbone", BACKBONE, *USE],
    "fit and calibrate": ["cinemae", "train", "fit", "--out", CHECKPOINT, "--backbone", BACKBONE, *USE, *TRAINED],
    "evaluate": ["cinemae", "train", "eval", CHECKPOINT, DATA, "--backbone", BACKBONE, *USE],
    "export and check": ["cinemae", "export", CHECKPOINT, "--out", MODELS, "--backbone", BACKBONE, "--fp16",
                         "--report", DATA, "--report-images", "64"],
}

OUT.mkdir(parents=True, exist_ok=True)
lines = ["| step | minutes | peak memory, GiB |", "|---|---:|---:|"]
for name, command in STEPS.items():
    print(f"== {name}: {' '.join(command)}", flush=True)
    started = time.monotonic()
    child = os.spawnvp(os.P_NOWAIT, command[0], command)
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"{name} failed; the same command goes on from there")
    memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**30
    lines.append(f"| {name} | {(time.monotonic() - started) / 60:.1f} | {memory:.1f} |")
text = "\n".join(lines)
(OUT / "steps.md").write_text(text + "\n", "utf-8")
print(text)
