"""`cinemae-train fit` and `calibrate`: a checkpoint from cached features, and other rates for it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from ...runtime.cli.expand import expanded
from ...runtime.core.errors import UsageError
from ...runtime.core.option import Option
from ..calibration.rates import Rates
from ..compute import prepare_process
from ..fitting.fit_config import FitConfig
from .shared import CACHE, Process, check_backbone, check_folder, checked

if TYPE_CHECKING:
    from ...runtime.core.calibration import Calibration
    from ...runtime.core.manifest import HeadConfig, MethodConfig
    from ..calibration.scores import Scores
    from ..features.cache import FeatureCache
    from ..model.mae import MaskedAutoencoder


OF_THE_PAPERS_HEAD = ("fusion", "standardize", "epochs", "batch_size", "lr", "weight_decay", "standardize_global")
"""Options of `FitOptions` and `FitConfig` that a logistic head does not have."""


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What a fit reads, the constants of the method, the head's shape, and the checkpoint.

    Attributes:
        cache: root of the feature cache, or one cache folder.
        key: first characters of the cache's key, where there are several caches.
        augment: use the cache with this augmentation.
        samples: recorded list of samples. Default: the list of the last extraction into the cache.
        out: checkpoint folder.
        head: the paper's, or logistic: logistic regression on f_global and the logarithms of the statistics.
        statistics: statistics that the head reads: a comma list of s1, s2, s3, or none, for f_global alone.
        fusion: how statistics and f_global come together [Table 7].
        standardize: standardise the statistics.
        k: use the first K runs of each set.
        lambda_: weight of the fidelity term.
        pixel_space: of LCAS: [0, 1], or ImageNet-normalised.
        stat_reduction: of the statistical term over the values of a patch.
        fidelity_reduction: of the fidelity term over the values of a patch.
        name: name in the manifest.
        demonstration: mark as a demonstration.
        embed_backbone: store the backbone in the checkpoint.
        backbone: the backbone, where it is no longer at its recorded place.

    Raises:
        UsageError: a value is not allowed.
    """

    cache: Path = CACHE
    key: str | None = None
    augment: str | None = None
    samples: Path | None = None
    out: Path = Path("runs/checkpoint")
    head: Annotated[str, Option(metavar="[paper|logistic]")] = "paper"
    statistics: str = "s1,s2,s3"
    fusion: Annotated[str, Option(metavar="[early_add|early_concat|early_gate|late_add|late_concat|late_gate]")] = (
        "early_add"
    )
    standardize: Annotated[bool, Option(names=("--standardize/--no-standardize",))] = True
    k: Annotated[int | None, Option(minimum=1)] = None
    lambda_: Annotated[float, Option(minimum=0)] = 0.1
    pixel_space: Annotated[str, Option(metavar="[unit|imagenet]")] = "unit"
    stat_reduction: Annotated[str, Option(metavar="[mean|sum]")] = "mean"
    fidelity_reduction: Annotated[str, Option(metavar="[sum|mean]")] = "sum"
    name: str = "cinemae"
    demonstration: bool = False
    embed_backbone: bool = False
    backbone: str | None = None

    def __post_init__(self) -> None:
        from ...runtime.core.manifest import MethodConfig
        from ..data.transforms import check_augment

        method_with(self, MethodConfig())
        head_of(self)
        check_augment(self.augment or "none")


def method_with(options: FitOptions, masks: MethodConfig) -> MethodConfig:
    """The method with the constants of the options and the masks of another method."""
    names = ("lambda_", "pixel_space", "stat_reduction", "fidelity_reduction")
    constants = {name: getattr(options, name) for name in names}
    method: MethodConfig = checked(type(masks), **{**masks.model_dump(), **constants})
    return method


def head_of(options: FitOptions) -> HeadConfig:
    """The head's shape; statistics "none" means f_global alone."""
    from ...runtime.core.manifest import HeadConfig, HeadKind

    text = options.statistics
    chosen = () if text in ("", "none") else tuple(part.strip() for part in text.split(","))
    if options.head not in get_args(HeadKind):
        raise UsageError(f"--head {options.head!r}: use {' or '.join(get_args(HeadKind))}")
    head: HeadConfig = checked(HeadConfig, kind=options.head, statistics=chosen, fusion=options.fusion,
                               standardize=options.standardize)
    return head


def check_recipe(options: FitOptions, config: FitConfig) -> None:
    """Raise UsageError for options of the paper's head that a logistic head does not have."""
    given, default = {**vars(options), **vars(config)}, {**vars(FitOptions()), **vars(FitConfig())}
    others = [f"--{name.replace('_', '-')}" for name in OF_THE_PAPERS_HEAD if given[name] != default[name]]
    if options.head == "logistic" and others:
        raise UsageError(f"a logistic head has no {', '.join(others)}; leave them out")


@expanded
def fit_command(options: FitOptions, config: FitConfig, process: Process) -> None:
    """Fit and calibrate the head on cached features.

    That takes seconds to minutes.
    """
    from ..features.cache_spec import find_caches, no_cache
    from ..fitting.checkpoint_folder import refuse_foreign

    check_recipe(options, config)
    check_folder("--out", options.out)
    refuse_foreign(options.out)
    if not find_caches(options.cache):
        raise UsageError(no_cache(options.cache))
    if options.backbone:
        check_backbone(options.backbone)
    prepare_process(process.threads)
    typer.echo(fitted(options, config, process.quiet))


def fitted(options: FitOptions, config: FitConfig, quiet: bool) -> str:
    """Fit, and move runs/last; returns data and recipe, the promise of the verdicts and the next commands."""
    from ..calibration.scores import Scores
    from ..evaluation.verdicts import promise_text
    from ..features.cache import FeatureCache, open_cache
    from ..features.sample_list import SAMPLES_FILE, read_recorded
    from ..fitting.checkpoint_folder import SCORES_FILE, read_manifest, remember_checkpoint
    from ..fitting.fit import fit

    folder = open_cache(options.cache, options.augment, options.key, config.split).folder
    cache = FeatureCache(folder, read_recorded(options.samples or folder / SAMPLES_FILE))
    method = method_with(options, cache.spec.method(options.k))
    embedded = embeddable(options.backbone, cache) if options.embed_backbone else None
    out, root = options.out, folder.parent
    where = "" if root == CACHE else f" --cache {shlex.quote(str(root))}"
    fit(cache, out, method, head_of(options), config, name=options.name, demonstration=options.demonstration,
        embed=embedded, quiet=quiet)
    remember_checkpoint(out)
    manifest = read_manifest(out)
    calibration = manifest.calibration
    possible = warn_of_rates(calibration, Scores.load(out / SCORES_FILE))
    t, held = manifest.training, manifest.metrics["held_out"]
    return (
        f"{out}: {t.n_ai:,} AI and {t.n_real:,} real images of {', '.join(t.generators)}; {t.note}: "
        f"{f'epoch {t.epochs}, ' if t.epochs else ''}held-out AUC {held['auc']:.4f} on {held['images']:,.0f} images\n"
        f"{promise_text(calibration)}\n"
        f"next: cinemae train eval {shlex.quote(str(out))} DATA{where}\nor: cinemae export {shlex.quote(str(out))}"
        + (f"\nor: cinemae train calibrate {shlex.quote(str(out))} {possible}" if possible else "")
    )


def embeddable(source: str | None, cache: FeatureCache) -> MaskedAutoencoder:
    """The backbone of the cache, from `source` or its recorded place.

    Raises:
        UsageError: other weights are there, or a global encoder, which no checkpoint holds.
    """
    from ..weights.load import load_backbone

    if beside := cache.spec.backbone.global_encoder:
        raise UsageError(f"a checkpoint names the global encoder {beside.source}: leave out --embed-backbone")
    loaded = load_backbone(source or cache.spec.backbone.source)
    if loaded.info.sha256 != cache.spec.backbone.sha256:
        raise UsageError(f"{loaded.info.source} is not the backbone of this cache; name the right file with --backbone")
    return loaded.mae


def warn_of_rates(calibration: Calibration, scores: Scores) -> str:
    """Say on stderr what the calibration of the scores cannot promise; returns options of rates that it can."""
    from ..evaluation.verdicts import options_of, promise_warnings, reachable_rates

    for warning in promise_warnings(calibration, scores):
        print(f"warning: {warning}", file=sys.stderr)
    return options_of(reachable_rates(calibration, scores))


@expanded
def calibrate_command(
    checkpoint: Annotated[Path | None, typer.Argument(help="Default: the checkpoint fitted last.")] = None, *,
    rates: Rates,
) -> None:
    """Choose other rates of wrong verdicts for a checkpoint.

    Likelihood ratio and thresholds follow from the scores that fitting kept.
    """
    from ..fitting.checkpoint_folder import last_checkpoint, read_manifest

    folder = checkpoint or last_checkpoint()
    read_manifest(folder)
    typer.echo(calibrated(folder, rates))


def calibrated(folder: Path, rates: Rates) -> str:
    """Calibrate the checkpoint anew; returns the new calibration in words."""
    from ...runtime.core.text import terminal_width
    from ..calibration.calibrate import calibrate
    from ..calibration.scores import Scores
    from ..evaluation.verdicts import promise_text, rates_table
    from ..fitting.checkpoint import load_head
    from ..fitting.checkpoint_folder import SCORES_FILE, update_checkpoint

    manifest = load_head(folder).manifest
    scores = Scores.load(folder / SCORES_FILE)
    earlier = manifest.calibration
    new = calibrate(scores, earlier.fitted_on, rates, earlier.lowest_quality)
    update_checkpoint(folder, manifest.model_copy(update={"calibration": new}), {})
    warn_of_rates(new, scores)
    return (
        f"{folder}: {new.fitted_on}\n"
        f"{promise_text(new)}\n{rates_table(new).plain(terminal_width())}\n"
        f"next: cinemae export {shlex.quote(str(folder))}"
    )
