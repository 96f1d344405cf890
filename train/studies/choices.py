"""Names that the options of the studies may take: studies, and generators to train on or only to report. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from ...runtime.core.errors import UsageError
from ..data.generators import same_generators
from ..data.sample import Sample

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "ablation": {
        "all": ("statistics", "lambda", "pixels", "fusion", "training", "masks", "freezing", "backbones"),
        "cached": ("statistics", "lambda", "pixels", "fusion"),
    },
    "analysis": {"all": ("nll", "curve", "spearman", "heatmaps")},
}
"""Studies of `paper.STUDIES` by kind and group; `cached`: those that need the cached features alone."""
TRAINING_CHOICE = ("stable_diffusion_v_1_4", "progan")
"""The paper's training generators, taken where a data set has several with a training split."""


def training_generators(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The generators that have a training split, sorted."""
    return tuple(sorted({sample.generator for sample in samples if sample.split == "train"}))


def choose_training(samples: Sequence[Sample], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Choose the generators to train on.

    Args:
        samples: all samples of the data.
        wanted: names in any spelling, or "all"; None takes the only generator with a training split, or the paper's.

    Returns:
        The names as the data spells them, sorted.

    Raises:
        UsageError: a generator asked for has no training split, none has one, or several have one and none of them is
            the paper's.
    """
    names = training_generators(samples)
    if wanted and list(wanted) != ["all"]:
        chosen, missing = same_generators(wanted, names)
        if missing:
            there = ", ".join(names) or "none"
            raise UsageError(f"no training split of {', '.join(missing)}; there is one of: {there}")
        return tuple(chosen)
    if names and (wanted or len(names) == 1):
        return names
    for choice in TRAINING_CHOICE:
        if chosen := same_generators([choice], names)[0]:
            return tuple(chosen)
    if not names:
        raise UsageError("the data has no training split; studies fit heads and need one generator with a train folder")
    raise UsageError(f"several generators have a training split ({', '.join(names)}); choose with --train-on")


def check_report_only(samples: Sequence[Sample], names: Sequence[str]) -> None:
    """Raise UsageError for a generator that the data does not have."""
    there = {sample.generator for sample in samples}
    if unknown := same_generators(names, there)[1]:
        known = ", ".join(sorted(there))
        raise UsageError(f"--report-only {', '.join(unknown)}: no such generator; there are: {known}")


def choose_studies(kind: str, text: str) -> list[str]:
    """Read a comma list of studies of a kind, or the name of a group of them.

    Raises:
        UsageError: a study is unknown; the message lists those that exist.
    """
    groups = GROUPS[kind]
    parts = groups.get(text) or [part.strip() for part in text.split(",") if part.strip()]
    unknown = [part for part in parts if part not in groups["all"]]
    if unknown or not parts:
        raise UsageError(f"unknown {kind} {', '.join(unknown)!r}; there are: {', '.join((*groups['all'], *groups))}")
    return list(parts)
