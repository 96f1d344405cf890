"""Score every image of a folder and print the ones to look at first.

    python examples/score_folder.py [FOLDER]
"""

import sys
from pathlib import Path

from cinemae import Detector

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "photos")
ENGINE = None  # the bundled demonstration engine; name your own: "models/cinemae.onnx"

paths = sorted(path for path in FOLDER.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
if not paths:
    raise SystemExit(f"{FOLDER}: holds no images; name a folder: python examples/score_folder.py FOLDER")
with Detector.load(ENGINE) as detector:
    records = list(detector.detect_many(paths, batch_size=16))

scored = [record for record in records if record.status == "ok"]
for record in sorted(scored, key=lambda record: -record.logit):
    reasons = "; ".join(reason.text for reason in record.reasons)
    ratio = record.likelihood_ratio.interval if record.likelihood_ratio else f"P(AI) {record.probability:.3f}"
    print(f"{ratio:<20}  {record.verdict:<9}  {record.path}  {reasons}")
for record in records:
    if record.status == "error":
        print(f"not scored: {record.path}: {record.error.text}")
