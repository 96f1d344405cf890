"""Ablations [Tables 4, 5b, 6, 7]: statistics, λ, pixels, fusion, training sets, masks, backbones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ...runtime.core.errors import UsageError
from ...runtime.core.manifest import Fusion, MethodConfig
from ..evaluation.metrics import MACC
from ..reporting.published import REPORTED
from ..reporting.result import StudyResult
from ..reporting.tables import Cell, Table
from ..weights.key_layouts import is_decoder
from .comparison import (
    F_GLOBAL_ALONE,
    LOGISTIC,
    LOGISTIC_HEAD,
    comparison,
    drawn,
    encoder_variants,
    fit_scores,
    head_inputs,
    seed_scores,
    sizes,
    statistics_scores,
)
from .estimates import INTERVALS, SeedScores
from .experiment import Experiment
from .nll import image_nll

LAMBDAS = (0.0, 0.1, 0.3, 0.5, 1.0)
SUBSETS = ((), ("s1",), ("s2",), ("s3",), ("s2", "s3"), ("s1", "s3"), ("s1", "s2"), ("s1", "s2", "s3"))
"""In the order of Table 6a."""
KS = (1, 2, 4, 8)


def statistics_subsets(experiment: Experiment, out: Path) -> StudyResult:
    """Table 6a: every subset of s1, s2, s3; the empty one leaves f_global alone."""
    heads = {" + ".join(subset) or "none (f_global alone)": {"statistics": subset} for subset in SUBSETS}
    text = "Each subset of the statistics, a head fitted from scratch (Table 6a of the paper)."
    return _of_heads(experiment, out, heads, text, name="statistics", title="Statistics", what="statistics")


def fusions(experiment: Experiment, out: Path) -> StudyResult:
    """Table 7: the six fusion variants."""
    heads = {name.replace("_", " "): {"fusion": name} for name in get_args(Fusion)}
    text = "How f_global and f_anomaly meet (Table 7): before the classifier (early) or after one on each (late)."
    return _of_heads(experiment, out, heads, text, name="fusion", title="Fusion", what="fusion", beside=True)


def _of_heads(
    experiment: Experiment, out: Path, changes: Mapping[str, dict[str, Any]], text: str, *, beside: bool = False,
    **labels: str,
) -> StudyResult:
    """Compare changes of the full head, beside the logistic head and, where asked for, a global encoder."""
    (inputs,) = head_inputs(experiment, experiment.method)
    heads = {label: experiment.head.model_copy(update=change) for label, change in changes.items()}
    heads[LOGISTIC_HEAD] = LOGISTIC
    variants = {label: fit_scores(experiment, inputs, head) for label, head in heads.items()}
    if beside:
        variants |= encoder_variants(experiment)
    return StudyResult(text, *drawn(out, *comparison(experiment, variants, **labels)))


def lambdas(experiment: Experiment, out: Path) -> StudyResult:
    """Table 6b: the weight of the fidelity term."""
    methods = {f"λ = {value:g}": {"lambda_": value} for value in LAMBDAS}
    text = "The weight λ of the fidelity term (Table 6b); at 0 the statistics see D_stat alone."
    return _of_methods(experiment, out, methods, text, name="lambda", title="Weight λ", what="λ")


def pixels(experiment: Experiment, out: Path) -> StudyResult:
    """The pixel space and the two reductions, which the paper does not specify."""
    readings = product(("unit", "imagenet"), ("mean", "sum"), ("sum", "mean"))
    methods = {
        f"{space}, D_stat {stat}, fidelity {fidelity}":
            {"pixel_space": space, "stat_reduction": stat, "fidelity_reduction": fidelity}
        for space, stat, fidelity in readings
    }
    text = (
        "The paper does not say in which pixel space LCAS lives, nor whether its two terms sum or average over a "
        "patch's values. All eight readings at the same λ; the first is the default."
    )
    title = "Pixel space and reductions"
    return _of_methods(experiment, out, methods, text, name="pixels", title=title, what="reading")


def _of_methods(
    experiment: Experiment, out: Path, changes: Mapping[str, dict[str, Any]], text: str, *, name: str, title: str,
    what: str,
) -> StudyResult:
    """Compare changes of the method by the full head, and by the statistics alone, without f_global to hide behind."""
    own = experiment.method.model_dump()
    inputs = head_inputs(experiment, *(MethodConfig.model_validate({**own, **change}) for change in changes.values()))
    by_label = dict(zip(changes, inputs, strict=True))
    heads = {label: fit_scores(experiment, one) for label, one in by_label.items()}
    bare = {label: statistics_scores(one) for label, one in by_label.items()}
    alone = f"{title}, s1..s3 alone (logistic regression)"
    return StudyResult(text, *drawn(
        out, *comparison(experiment, heads, name=name, title=title, what=what),
        *comparison(experiment, bare, name=f"{name}_statistics", title=alone, what=what),
    ))


def masks(experiment: Experiment, out: Path) -> StudyResult:
    """Every K under both mask strategies with one stored mask set each; an extraction with the largest K serves all."""
    variants = {}
    for strategy in ("balanced", "independent"):
        most = {"k": max(KS), "mask_strategy": strategy, "mask_sets": 1}
        one = replace(experiment.thinned, method=experiment.method.model_copy(update=most))
        for k, inputs in zip(KS, head_inputs(one, *(one.cache.spec.method(k) for k in KS)), strict=True):
            variants[f"K = {k}, {strategy}"] = fit_scores(one, inputs)
    note = f"{sizes(one)} {one.budget.bounds()} One mask set (R = 1); s3 is 0 at K = 1."
    found = comparison(one, variants, name="masks", title="K and mask strategy", what="masks", note=note)
    return StudyResult("The number of masked passes, and balanced against independent masks.", *drawn(out, *found))


def backbones(experiment: Experiment, out: Path) -> StudyResult:
    """Table 5b: the detector, the logistic head and f_global alone on each backbone."""
    variants: dict[str, list[np.ndarray]] = {}
    rows: list[tuple[Cell, ...]] = []
    for name in (experiment.backbone, *experiment.budget.other_backbone):
        one = replace(experiment.thinned, backbone=name)
        config = one.info.config
        label = f"{Path(name).name} ({config.encoder_dim} x {config.encoder_depth})"
        (inputs,) = head_inputs(one, one.method)
        variants[label] = fit_scores(one, inputs)
        variants[f"{label}, {LOGISTIC_HEAD}"] = fit_scores(one, inputs, LOGISTIC)
        variants[f"{label}, f_global alone"] = fit_scores(one, inputs, F_GLOBAL_ALONE)
        nll = one.eval_scores(image_nll(one.cache, one.eval_rows))
        real, ai = (float(nll.logits[nll.labels == label].mean()) for label in (0, 1))
        millions = sum(p.numel() for key, p in one.load().named_parameters() if not is_decoder(key)) / 1e6
        rows.append((label, millions, real, ai))
    note = f"{sizes(one)} {one.budget.bounds()}"
    found = comparison(one, variants, name="backbones", title="Backbone", what="backbone", note=note)
    columns = ("backbone", "encoder parameters, M", "NLL real", "NLL AI")
    shapes = Table("backbone_sizes", "Backbones: size and mean reconstruction error", columns, tuple(rows))
    _, pictures = drawn(out, *found)
    return StudyResult("The same protocol on other masked autoencoders (Table 5b).", (*found, shapes), pictures)


def training_sets(experiment: Experiment, out: Path) -> StudyResult:
    """Table 4, upper and lower half: heads trained on the chosen generators and on all, tested on every generator.

    Raises:
        UsageError: no generator has a training split besides those chosen.
    """
    chosen, every = experiment.fit.generators, experiment.trainable
    if set(chosen) == set(every):
        raise UsageError(
            f"{', '.join(every)}: no other generator has a training split, so that there is no larger training set to "
            "compare with; give all of GenImage's train folders as --data, and choose one with --train-on"
        )
    rows: list[tuple[Cell, ...]] = []
    counts: list[str] = []
    reference: SeedScores | None = None
    for label, generators in ((first := ", ".join(chosen), chosen), ("all generators", every)):
        one = replace(experiment, fit=replace(experiment.fit, generators=generators)).thinned
        (inputs,) = head_inputs(one, one.method)
        names = {one.marked(name): [name] for name in one.generators} | {"mean (mAcc)": one.averaged}
        found = seed_scores(one, {label: fit_scores(one, inputs)})[label]
        counts.append(f"{label}: {sizes(one)}")
        rows += [(
            label, name, len(found), found.accuracy(own),
            None if reference is None else found.gain(reference, own), found.class_accuracy(1, own),
            found.class_accuracy(0, own), found.auc(own),
        ) for name, own in names.items()]
        reference = found
    note = (
        "Table 4. Accuracies at P(AI) = 0.5; accuracy is the share of all images that are right. "
        f"{MACC}; without generators that are only reported ({REPORTED.strip()}). {INTERVALS} {' '.join(counts)} "
        f"{experiment.budget.bounds()}"
    )
    less = f"accuracy less {first}"
    columns = ("trained on", "tested on", "seeds", "accuracy", less, "AI", "real", "AUC")
    text = (
        f"The same head trained on {', '.join(chosen)} and on all generators with a training split "
        f"({', '.join(every)}); the paper tests both on Chameleon (Table 4, upper and lower half)."
    )
    return StudyResult(text, (Table("training_sets", "Training sets", columns, tuple(rows), note, signed=(less,)),))
