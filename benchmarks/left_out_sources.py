"""Figures of the bundled engine on sources that its head has not seen, beside controls; and its calibration.

    python benchmarks/left_out_sources.py LIST [--engine FILE] [--features FOLDER] [--install] [--clean]

LIST names images with `path,label,generator,split`. The backbone inside the engine gives f_global and the statistics;
heads are fitted on them anew by the recipe of models/MODEL_CARD.md. Every source of split `train` is scored by heads
and probes fitted without it, in the folds of `fit`; split `test` by the engine's own head. Clean, and format-balanced:
at most 50 images of each source cut to the same size and written as the same JPEG. `--features` keeps the features.
`--install` writes the calibration into the engine, whose graph stays what it is. Writes
benchmarks/results/left-out-sources.md and .json.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from cinemae.export.engine_file import write_graph
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.files import write_text
from cinemae.runtime.core.manifest import HeadConfig
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.engines.load import BUNDLED_NAME
from cinemae.runtime.scoring.verdict import Decision
from cinemae.train.audit.probe import transfer
from cinemae.train.calibration.calibrate import calibrate
from cinemae.train.calibration.likelihood import log_likelihood_ratio_cost
from cinemae.train.calibration.rates import Rates
from cinemae.train.calibration.scores import OWN_HEAD, Scores
from cinemae.train.data.sample import AI, REAL, Sample
from cinemae.train.data.samples import read_samples, thin
from cinemae.train.evaluation.intervals import auc_and_variance, auc_interval, mean_interval
from cinemae.train.fitting.examples import Examples, is_held_out, source_weights
from cinemae.train.fitting.fit_config import FitConfig
from cinemae.train.fitting.head_training import train_head
from cinemae.train.fitting.out_of_fold import left_out_scores, out_of_fold, source_folds
from cinemae.train.reporting.tables import Table
from engine_features import Columns, kept
from sklearn.isotonic import IsotonicRegression

OUT = Path(__file__).parent / "results"
BUNDLED = Path(__file__).parents[1] / "models" / BUNDLED_NAME
RECIPE = FitConfig(epochs=12, batch_size=64, lr=3e-4, weight_decay=1.0, balance_sources=True, standardize_global=True)
HEADS = {
    "this engine": HeadConfig(fusion="early_concat"), "logistic head": HeadConfig(kind="logistic"),
    "f_global alone": HeadConfig(statistics=()),
}
WIDER = Rates(false_alarm=0.1, miss=0.1, gamma=1 / 8)
BALANCED = 50


class Measured:
    """Images of both splits with their logits by every variant.

    Attributes:
        labels: int64 [n].
        sources: str [n].
        test: bool [n].
        columns: logits, float32 [n], by name of the variant.
        both: the scores that the calibration of the engine is fitted on.
    """

    def __init__(self, samples: Sequence[Sample], values: Columns) -> None:
        there = zip(values["index"], values["content"], strict=True)
        rows = [samples[i]._replace(content=str(sha)) for i, sha in there]
        self.labels = np.array([row.label for row in rows])
        self.sources = np.array([row.generator for row in rows])
        self.test = np.array([row.split != "train" for row in rows])
        held = np.array([is_held_out(row.content, RECIPE.held_out, RECIPE.seed) for row in rows])
        train = ~self.test
        parts = _examples(rows, values, train & ~held), _examples(rows, values, train & held)
        order = np.r_[np.flatnonzero(train & ~held), np.flatnonzero(train & held)]
        self.columns = {}
        for name, head in HEADS.items():
            scores = left_out_scores(*parts, head, RECIPE, quiet=True)
            assert scores is not None
            self.columns[name] = np.full(len(rows), np.nan, np.float32)
            self.columns[name][order] = scores.logits
            own = train_head(*parts, RECIPE, head, quiet=True).head if name != "this engine" else None
            tested = values["logit"][self.test] if own is None else _examples(rows, values, self.test).logits(own)
            self.columns[name][self.test] = tested
        folds = source_folds(self.labels[train], self.sources[train])
        assert folds is not None
        labels = self.labels[train]
        for name, key in (("JPEG probe", "jpeg"), ("spectrum probe", "rings")):
            left = values[key][train]

            def probe(fitted: np.ndarray, scored: np.ndarray, left: np.ndarray = left) -> np.ndarray:
                return transfer(left[fitted], labels[fitted], left[scored])

            self.columns[name] = np.empty(len(rows), np.float32)
            self.columns[name][train] = out_of_fold(folds, probe)
            self.columns[name][self.test] = transfer(left, labels, values[key][self.test])
        kept_out = train & held
        out = self.scores(train)
        self.both = Scores(
            np.r_[out.logits, values["logit"][kept_out]], np.r_[out.labels, self.labels[kept_out]],
            np.r_[out.sources, np.full(kept_out.sum(), OWN_HEAD)],
        )
        n_ai, n_real = (len(out.by_source(label)) for label in (AI, REAL))
        self.where = (f"{train.sum():,} images of {n_ai} AI and {n_real} real sources, each source scored by a head "
                      f"fitted without it, and {kept_out.sum():,} held-out images by the head itself")

    def scores(self, chosen: np.ndarray) -> Scores:
        """Logits of this engine where bool [n] holds."""
        return Scores(self.columns["this engine"], self.labels, self.sources).take(chosen)

    def auc_rows(self, matched: bool) -> Iterator[list[str]]:
        """A row a source of AI images: AUC with its interval, against its own real images or against all of the split.

        The last row has the mean of the sources of split `train`, or of those of split `test` where `matched`.
        """
        means: dict[str, list[float]] = {}
        fitted = set(self.sources[~self.test])
        for split in (False, True):
            real = (self.labels == REAL) & (self.test == split)
            for source in np.unique(self.sources[(self.labels == AI) & (self.test == split)]):
                ai = (self.labels == AI) & (self.test == split) & (self.sources == source)
                against = real & (self.sources == source) if matched else real
                if not against.any():
                    continue
                told = "" if not split else " (other images)" if source in fitted else " (reported only)"
                row = [f"{source}{told}", f"{ai.sum():,} / {against.sum():,}"]
                for name, logits in self.columns.items():
                    pair = logits[against], logits[ai]
                    value, around = auc_and_variance(*pair)[0], auc_interval(*pair)
                    row.append(f"{value:.3f} ({around.low:.3f} to {around.high:.3f})")
                    if told == (" (reported only)" if matched else ""):
                        means.setdefault(name, []).append(value)
                yield row
        row = [f"mean of the {len(means['this engine'])} sources {'reported only' if matched else 'left out'}", ""]
        for values in means.values():
            around = mean_interval(values)
            row.append(f"{np.mean(values):.3f} ({around.low:.3f} to {around.high:.3f})")
        yield row


def _examples(rows: Sequence[Sample], values: Columns, chosen: np.ndarray) -> Examples:
    at = np.flatnonzero(chosen).tolist()
    f_global, stats = torch.from_numpy(values["f_global"][at]), torch.from_numpy(values["stats"][at])[:, None]
    labels = torch.tensor([float(rows[i].label) for i in at])
    return Examples(f_global, stats, labels, tuple(rows[i] for i in at))


def verdicts(scores: Scores, calibration: Calibration) -> Counter[str]:
    """Counts of the verdicts."""
    decision = Decision.of(calibration)
    return Counter(decision.verdict(float(logit)) for logit in scores.logits)


def leave_one_out(scores: Scores, rates: Rates) -> tuple[dict[int, Counter[str]], list[tuple[str, ...]], np.ndarray]:
    """Each source judged by the calibration of all others.

    Returns:
        the verdicts by class, the five worst sources, and the natural logarithm of every image's ratio.
    """
    total: dict[int, Counter[str]] = {REAL: Counter(), AI: Counter()}
    wrong, ratios = [], np.empty(len(scores.logits))
    for label, name in ((REAL, "real"), (AI, "AI")):
        for source in scores.by_source(label):
            out = (scores.labels == label) & (scores.sources == source)
            others = calibrate(scores.take(~out), "all others", rates)
            assert others.likelihood is not None
            ratios[out] = [np.log(others.likelihood.at(float(z))[0]) for z in scores.logits[out]]
            counts = verdicts(scores.take(out), others)
            total[label] += counts
            error = counts["ai" if label == REAL else "real"]
            wrong.append((error / out.sum(), (source, name, f"{error} of {out.sum():,}")))
    return total, [row for _, row in sorted(wrong, key=lambda pair: -pair[0])[:5]], ratios


def share_row(title: str, label: int, own: Counter[str]) -> tuple[str, ...]:
    """A row of the verdict table."""
    n = own.total()
    shares = (f"{own[verdict]:,} ({own[verdict] / n:.1%})" for verdict in ("ai", "uncertain", "real"))
    return (title, "AI" if label else "real", f"{n:,}", *shares)


def cost_row(title: str, ratios: np.ndarray, scores: Scores) -> tuple[str, ...]:
    """A row of the table of costs: Cllr, and the least that any monotone map of the same logits reaches."""
    cost = log_likelihood_ratio_cost(ratios, scores.labels, scores.sources)
    weights = source_weights(scores.labels, scores.sources)
    best = IsotonicRegression().fit_transform(scores.logits, scores.labels, sample_weight=weights)
    least = float(np.average(-np.log2(np.where(scores.labels == AI, best, 1 - best)), weights=weights))
    return title, f"{len(ratios):,}", f"{cost:.3f}", f"{least:.3f}", f"{cost - least:.3f}"


def tables(title: str, data: Measured) -> list[Table]:
    """All tables of a set of files."""
    head = ("AI source", "AI / real", *data.columns)
    train, everything = data.scores(~data.test), calibrate(data.both, data.where, Rates())
    shares, costs, worst = [], [], []
    for rates in (Rates(), WIDER):
        said = f"{rates.false_alarm:.0%}, gamma {rates.gamma:g}"
        total, bad, ratios = leave_one_out(train, rates)
        shares += [share_row(f"left out, source by source, {said}", label, own) for label, own in total.items()]
        worst += [(said, *row) for row in bad]
        fixed = calibrate(data.both, "", rates)
        for source in np.unique(data.sources[data.test]):
            for label in (REAL, AI):
                own = data.scores(data.test & (data.sources == source) & (data.labels == label))
                shares.append(share_row(f"{source} (reported only), {said}", label, verdicts(own, fixed)))
    costs.append(cost_row("left out, source by source", ratios, train))
    assert everything.likelihood is not None
    for source in np.unique(data.sources[data.test]):
        own = data.scores(data.test & (data.sources == source))
        ratio = np.log([everything.likelihood.at(float(z))[0] for z in own.logits])
        costs.append(cost_row(f"{source} (reported only)", ratio, own))
    grades = []
    for z in sorted({*(z for z in (everything.ai_from, everything.real_below) if z is not None), *range(-4, 5)}):
        value, low, high, real, ai = everything.likelihood.at(z)
        grades.append((f"{z:.2f}", f"{value:.2f} ({low:.2f} to {high:.2f})", f"{real:.1%}", f"{ai:.1%}",
                       f"{everything.probability(z):.1%}"))
    return [Table(name, f"{what}, {title}", columns, tuple(map(tuple, rows))) for name, what, columns, rows in (
        ("matched", "AUC against real images of the same source", head, data.auc_rows(matched=True)),
        ("auc", "AUC against all real images", head, data.auc_rows(matched=False)),
        ("likelihood", "Likelihood ratio", ("logit", "ratio (95 %)", "real, at least", "AI, at least", "P"), grades),
        ("cost", "Cost of the likelihood ratio, bits", ("images", "number", "Cllr", "least", "difference"), costs),
        ("verdicts", "Verdicts", ("images", "class", "number", "called ai", "uncertain", "called real"), shares),
        ("worst", "The worst sources left out", ("rates", "source", "class", "called wrongly"), worst),
    )]


def install(engine: Path, calibration: Calibration) -> None:
    """Write the calibration into the engine."""
    manifest = read_manifest(engine).model_copy(update={"calibration": calibration})
    print(f"{engine}: {write_graph(onnx.load(engine), manifest, engine).label}")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path)
    parser.add_argument("--engine", type=Path, default=BUNDLED)
    parser.add_argument("--features", type=Path, help="folder that keeps the features")
    parser.add_argument("--install", action="store_true", help="write the calibration into the engine")
    parser.add_argument("--clean", action="store_true", help="no format-balanced images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    samples = read_samples(options.list)
    text = ["# On sources left out\n"]
    figures: dict[str, dict[str, list[list[str]]]] = {}
    for augment, title in (("none", "clean"), ("balanced", "format-balanced"))[: 1 if options.clean else 2]:
        chosen = samples if augment == "none" else thin(samples, BALANCED)
        data = Measured(chosen, kept(options.features, options.engine, chosen, augment))
        found = tables(title, data)
        figures[augment] = {table.name: [list(map(str, row)) for row in table.rows] for table in found}
        text += [table.markdown() for table in found]
        if options.install and augment == "none":
            install(options.engine, calibrate(data.both, data.where, Rates()))
    OUT.mkdir(exist_ok=True)
    write_text(OUT / "left-out-sources.md", "\n".join(text))
    write_text(OUT / "left-out-sources.json", json.dumps(figures, indent=1) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
