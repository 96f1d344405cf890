"""Train a head on a CSV of labelled images (path,label,generator,split) and evaluate it on the images of split test.

    python examples/train_on_csv.py [LIST.csv [BACKBONE]]

`cinemae train pretrain PHOTOS --out runs/backbone` makes a small backbone; the published one is facebook/vit-mae-large.
"""

import sys
from pathlib import Path

from cinemae.runtime.core.errors import CinemaeError
from cinemae.runtime.core.manifest import HeadConfig, MethodConfig
from cinemae.train.data.samples import read_samples
from cinemae.train.evaluation.evaluate import evaluate, score
from cinemae.train.features.cache import FeatureCache
from cinemae.train.features.cache_spec import CacheSpec
from cinemae.train.features.extract import extract, preprocess_for
from cinemae.train.fitting.checkpoint import load_head
from cinemae.train.fitting.fit import fit
from cinemae.train.fitting.fit_config import FitConfig
from cinemae.train.weights.load import load_backbone

LIST = Path(sys.argv[1] if len(sys.argv) > 1 else "images.csv")
BACKBONE = sys.argv[2] if len(sys.argv) > 2 else "backbone.safetensors"
CACHE, CHECKPOINT = Path("runs/cache"), Path("runs/checkpoint")

# Features of every image, once: the backbone is frozen.
method = MethodConfig()
try:
    samples, backbone = read_samples(LIST), load_backbone(BACKBONE)
except CinemaeError as error:
    raise SystemExit(f"error: {error}") from None
spec = CacheSpec.create(backbone.info, preprocess_for(backbone.info.config), method)
report = extract(samples, lambda: backbone.mae, spec, CACHE)
print(f"{report.computed} images computed, {report.reused} cached before, {len(report.skipped)} skipped")

# The head, on split train of this list, not of all that the cache holds; a tenth is held out to choose the epoch and
# to calibrate.
cache = FeatureCache(report.folder, report.samples)
fit(cache, CHECKPOINT, method, HeadConfig(), FitConfig(epochs=30, lr=1e-3))

# Figures per generator, on images that were not trained on.
head = load_head(CHECKPOINT)
found = evaluate(head, score(head, cache, cache.select(split="test")))
for group in found.groups:
    m = group.metrics
    print(f"{group.generator}: AUC {m.auc:.3f}; {m.coverage:.1%} decided, of these right {m.accuracy:.3f}")
