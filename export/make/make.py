"""`cinemae make`: look, say what it takes, and do the steps one after the other."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from ...runtime.core.files import locked
from ...runtime.scan.targets import check_writable
from ...train.calibration.rates import Rates
from ...train.cli.extract import ExtractOptions
from ...train.cli.shared import Forward, Machine, check_backbone, check_folder, read_data
from ...train.compute import prepare_process
from ...train.data.sample import Sample
from ...train.fitting.checkpoint_folder import refuse_foreign
from ...train.fitting.fit_config import FitConfig
from ..export import check_packages, say
from ..refusals import refuse_bundled, refuse_other_precision
from .options import MakeOptions
from .steps import NAMES

LOCK = "lock"
"""File in `MakeOptions.work` that the run holds which makes the engine."""
SHOWN = 64
"""Images of the page, and of the report on the cost of float16."""
FEW = 20_000
"""Training images up to which the head is fitted in 100 passes instead of the paper's 25 (docs/training.md)."""


def recipe(images: int, rates: Rates) -> FitConfig:
    """The fit on so many images: the paper's, with what served best on sources left out (docs/training.md)."""
    config = FitConfig(rates=rates, weight_decay=1.0, balance_sources=True, standardize_global=True)
    return replace(config, epochs=100, lr=1e-3) if images <= FEW else config


def make(options: MakeOptions, rates: Rates, machine: Machine) -> str:
    """Make the engine; returns what was made and the next command.

    Raises:
        UsageError: wrong options, or data that lacks a split or a class.
        OutputError: a place that cannot be written to, another run that makes this engine, or a disk too small.
        ParityError: the engine disagrees with PyTorch.
    """
    out = options.out
    refuse_bundled(out)
    refuse_other_precision(out, "fp16" if options.fp16 else "fp32", "name another file with --out")
    check_folder("--cache", options.cache)
    check_writable(options.work, out)
    refuse_foreign(options.checkpoint)
    check_backbone(options.backbone)
    check_packages()
    samples = read_data(options)
    with locked(options.work / LOCK, options.work):
        return made(samples, options, recipe(sum(sample.split == "train" for sample in samples), rates), machine)


def made(samples: Sequence[Sample], options: MakeOptions, config: FitConfig, machine: Machine) -> str:
    """The steps of `make`, once names and places are checked; returns and raises the same."""
    prepare_process(machine.threads)
    from ..quality import of_split
    from .card import write_card
    from .plan import best_case_warnings, check_data, estimate
    from .work import Work

    out = options.out
    say(f"{', '.join(NAMES)}: of {len(samples):,} images into {out}")
    for line in check_data(samples, config):
        say(line)
    for warning in best_case_warnings(samples, config):
        say(f"warning: {warning}")
    augment, forward = "delivery" if options.tiers else "none", Forward(**vars(machine))
    extraction = ExtractOptions(backbone=options.backbone, cache=options.cache, augment=augment,
                                global_encoder=options.global_encoder)
    say(f"loading {options.backbone}, and measuring on the first images ...")
    for line in estimate(samples, options, extraction, forward):
        say(line)
    work = Work(options, config, forward)
    work.audit(samples)
    listed = work.extract(samples, extraction)
    work.fit(listed)
    work.evaluate(listed)
    shown = of_split(listed, train=False, count=SHOWN)
    work.export(shown)
    page = work.report(shown)
    warnings = work.warnings()
    card = write_card(options, page, warnings)
    for warning in warnings:
        say(f"warning: {warning}")
    return (
        f"{out}: the engine\n{card}: its card\n{page}: its verdicts on {len(shown)} images that it was not trained on"
        f"\nnext: cinemae run PHOTOS --engine {shlex.quote(str(out))}"
    )
