"""The recipe of a fit. Nothing heavy is imported: commands make options of its fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from ...runtime.core.option import Option
from ..calibration.rates import Rates


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Recipe of a fit; the defaults are the paper's.

    Attributes:
        generators: train on this generator; repeatable. Default: all that have the split.
        split: split to train on.
        epochs: passes over the training images.
        batch_size: images of a step; 32 is the paper's, 1024 fits 100,000 images in minutes.
        lr: constant learning rate of Adam.
        weight_decay: decoupled weight decay (AdamW), which shrinks the head; 0 is the paper's.
        held_out: share of the training images, chosen by their content, that selects the epoch and calibrates.
        seed: seed of initialisation, order, drawn mask sets and the held-out share.
        balance_sources: give both classes, and every source of a class, the same weight in the loss.
        standardize_global: start with f_global standardised feature by feature.
        rates: of wrong verdicts, that the calibration promises.
    """

    generators: Annotated[tuple[str, ...], Option(names=("--generator", "-g"))] = ()
    split: str = "train"
    epochs: Annotated[int, Option(minimum=1)] = 25
    batch_size: Annotated[int, Option(minimum=1)] = 32
    lr: Annotated[float, Option(minimum=0)] = 1e-4
    weight_decay: Annotated[float, Option(minimum=0)] = 0.0
    held_out: Annotated[float, Option(minimum=0.001, maximum=0.9)] = 0.1
    seed: Annotated[int, Option(minimum=0)] = 0
    balance_sources: bool = False
    standardize_global: bool = False
    rates: Rates = field(default_factory=Rates)

    @property
    def balanced(self) -> str:
        """What `balance_sources` does, in words after others."""
        return ", sources and classes balanced" if self.balance_sources else ""

    def optimisation(self) -> str:
        """Batch, optimiser and loss in words, for the manifest."""
        shrunk = f"AdamW, weight decay {self.weight_decay:g}" if self.weight_decay else "Adam"
        standardised = ", f_global standardised" if self.standardize_global else ""
        return f"batch {self.batch_size}, {shrunk}, lr {self.lr:g}{self.balanced}{standardised}"
