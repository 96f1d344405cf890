"""The recipe of a fit. No torch: the options of `cinemae-train fit` are made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from ...runtime.core.option import Option


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Rates of wrong verdicts.

    Attributes:
        false_alarm: at most this share of real images gets the verdict `ai`.
        miss: at most this share of AI images gets the verdict `real`.

    Raises:
        UsageError: a rate outside of (0, 1).
    """

    false_alarm: float = 0.05
    miss: float = 0.05

    def __post_init__(self) -> None:
        from ..calibration.thresholds import check_rates  # numpy

        check_rates(self.false_alarm, self.miss)


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Recipe of a fit; the defaults are the paper's.

    Attributes:
        generators: train on this generator; repeat for several. Default: all that have the split.
        split: split to train on.
        epochs: passes over the training images.
        batch_size: images of one step; 32 is the paper's, 1024 fits 100,000 images in minutes.
        lr: constant learning rate of Adam.
        weight_decay: decoupled weight decay (AdamW), which shrinks the head; with 0, the paper's, it is Adam.
        held_out: share of the training images, chosen by their content, that selects the epoch and calibrates.
        seed: seed of initialisation, order, drawn mask sets and the held-out share.
        rates: of wrong verdicts.
        balance_sources: give both classes, and every source of a class, the same weight in the loss.
        standardize_global: start with f_global standardised feature by feature.
    """

    generators: Annotated[tuple[str, ...], Option(names=("--generator", "-g"))] = ()
    split: str = "train"
    epochs: Annotated[int, Option(minimum=1)] = 25
    batch_size: Annotated[int, Option(minimum=1)] = 32
    lr: Annotated[float, Option(minimum=0)] = 1e-4
    weight_decay: Annotated[float, Option(minimum=0)] = 0.0
    held_out: Annotated[float, Option(minimum=0.001, maximum=0.9)] = 0.1
    seed: Annotated[int, Option(minimum=0)] = 0
    rates: Rates = field(default_factory=Rates)
    balance_sources: bool = False
    standardize_global: bool = False


def describe(config: FitConfig) -> str:
    """The optimisation in words, for the manifest."""
    shrunk = f"AdamW, weight decay {config.weight_decay:g}" if config.weight_decay else "Adam"
    balanced = ", sources and classes balanced" if config.balance_sources else ""
    standardised = ", f_global standardised" if config.standardize_global else ""
    return f"batch {config.batch_size}, {shrunk}, lr {config.lr:g}{balanced}{standardised}"
