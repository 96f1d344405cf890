"""`cinemae-train extract`: the features of labelled images, into the cache."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...runtime.cli.expand import expanded
from ...runtime.core.errors import UsageError
from ...runtime.core.option import Option
from ..compute import choose_device, choose_precision, named_precision, prepare_process
from .shared import CACHE, Augment, Forward, Subset, check_backbone, check_folder, checked, read_data

if TYPE_CHECKING:
    from ...runtime.core.manifest import Backbone, MethodConfig
    from ..compute import Precision
    from ..data.sample import Sample
    from ..features.cache_spec import CacheSpec
    from ..features.extract import ExtractReport

NAMED_SKIPS = 20
FEW = 30
"""Training images of a class of which a tenth may well hold none."""


@dataclass(frozen=True, kw_only=True)
class ExtractOptions:
    """Which features are computed, and where they are kept.

    Attributes:
        backbone: weights with encoder and decoder: file, folder or Hugging Face id.
        cache: root of the feature cache.
        k: masked passes of a set.
        mask_sets: mask sets R that fitting draws from; the first is deployed, and more gained nothing.
        mask_strategy: how masks are drawn; balanced: every patch is masked in most of the runs.
        mask_seed: seed of the first mask set.
        augment: change images before the resize; robust: rescale and re-encode.
        views: augmented views of an image.
        augment_seed: seed of the augmentation.
        decode: scaled halves images above 1022 pixels cheaply before the resize; engines then do the same.
        f_global: feature of the whole image: the CLS token, as in the paper, or the mean of the patch tokens.
        global_encoder: another frozen encoder for that feature: NAME of timm, from the hub, or NAME:FILE.safetensors.
        shard: this process takes part i of n, counted from 0. Default: as torchrun says, else all.
        ray: extract on the Ray cluster at this address, which sees DATA and CACHE at the same paths: HOST:PORT,
            ray://HOST:PORT, auto, or local for a new cluster on this machine.

    Raises:
        UsageError: a value is not allowed.
    """

    backbone: str
    cache: Path = CACHE
    k: Annotated[int, Option(minimum=1, maximum=64)] = 2
    mask_sets: Annotated[int, Option(minimum=1)] = 1
    mask_strategy: Annotated[str, Option(metavar="[balanced|independent]")] = "balanced"
    mask_seed: Annotated[int, Option(minimum=0)] = 0
    augment: Augment = "none"
    views: Annotated[int, Option(minimum=1)] = 1
    augment_seed: Annotated[int, Option(minimum=0)] = 0
    decode: Annotated[str, Option(metavar="[full|scaled]")] = "scaled"
    f_global: Annotated[str, Option(metavar="[cls|mean]")] = "cls"
    global_encoder: Annotated[str | None, Option(metavar="NAME[:FILE]")] = None
    shard: Annotated[str | None, Option(metavar="I/N")] = None
    ray: Annotated[str | None, Option(metavar="ADDRESS")] = None

    def __post_init__(self) -> None:
        from ...runtime.core.manifest import Preprocess
        from ..data.transforms import check_augment

        masked_method(self)
        checked(Preprocess, decode=self.decode)
        check_augment(self.augment)
        chosen_part(self)
        if self.global_encoder and self.f_global != "cls":
            raise UsageError("--f-global chooses a feature of the masked autoencoder: leave out --global-encoder or it")


def masked_method(options: ExtractOptions) -> MethodConfig:
    """The method with the masks of the options."""
    from ...runtime.core.manifest import MethodConfig

    names = ("f_global", "k", "mask_sets", "mask_strategy", "mask_seed")
    method: MethodConfig = checked(MethodConfig, **{name: getattr(options, name) for name in names})
    return method


def chosen_part(options: ExtractOptions) -> tuple[int, int]:
    """The part of the extraction that this process takes, (i, n): of `--shard`, else rank and world size of torchrun.

    Schedulers set RANK and WORLD_SIZE, too; without torchrun's own TORCHELASTIC_RUN_ID nobody asked to divide the work.

    Raises:
        UsageError: the text is not i/n with 0 <= i < n, or `--ray`, which divides the work, is given too.
    """
    if options.shard is None:
        if options.ray or "TORCHELASTIC_RUN_ID" not in os.environ:
            return 0, 1
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if options.ray:
        raise UsageError("--ray divides the work by itself: leave out --shard")
    head, _, tail = options.shard.partition("/")
    if not (head.isdigit() and tail.isdigit() and int(head) < int(tail)):
        raise UsageError(
            f"--shard must be i/n with 0 <= i < n (0/4 ... 3/4 for four processes), got {options.shard!r}"
        )
    return int(head), int(tail)


def spec_for(options: ExtractOptions, backbone: Backbone, precision: Precision) -> CacheSpec:
    """What decides the features that the options ask for; errors of the weights as `describe_encoder`."""
    from ..features.cache_spec import CacheSpec
    from ..features.extract import preprocess_for
    from ..weights.timm_encoder import describe_encoder

    if options.global_encoder:
        backbone = backbone.model_copy(update={"global_encoder": describe_encoder(options.global_encoder)})
    preprocess = checked(preprocess_for, config=backbone.config, decode=options.decode)
    return CacheSpec.create(
        backbone, preprocess, masked_method(options), augment=options.augment, views=options.views,
        augment_seed=options.augment_seed, precision=precision,
    )


@expanded
def extract_command(options: ExtractOptions, data: Subset, forward: Forward) -> None:
    """Compute the features of labelled images, once.

    The same command resumes a stopped run and adds new images.
    """
    check_folder("--cache", options.cache)
    samples = read_data(data)
    check_backbone(options.backbone)
    if options.ray:
        from ...runtime.ray.supervised import supervise

        supervise("the same command continues it")  # before torch: a fork takes no threads along
    prepare_process(forward.threads)
    typer.echo(described(extracted(samples, options, forward), data, options.cache))


def extracted(samples: Sequence[Sample], options: ExtractOptions, forward: Forward) -> ExtractReport:
    """Extract in this process or on a cluster, and record the list of samples."""
    from ..features.extract import extract
    from ..features.sample_list import record_part, start_part
    from ..weights.load import load_backbone

    precision = named_precision(forward.precision)  # on a cluster: the devices are those of its workers
    device = None if options.ray else choose_device(forward.device)
    if device:
        precision = choose_precision(forward.precision, device)
    part, root = chosen_part(options), options.cache
    if not forward.quiet:
        share = f", part {part[0]} of {part[1]}, counted from 0" if part[1] > 1 else ""
        print(f"{len(samples):,} images{share}; loading {options.backbone} ...", file=sys.stderr, flush=True)
    loaded = load_backbone(options.backbone)
    spec = spec_for(options, loaded.info, precision)
    start_part(root / spec.key, samples, part)
    if options.ray:
        from ..features.ray_extract import extract_on_ray

        report = extract_on_ray(options.ray, samples, options.backbone, spec, root, batch_size=forward.batch_size,
                                workers=forward.workers, device=forward.device, threads=forward.threads or 1)
    else:
        report = extract(samples, lambda: loaded.mae, spec, root, shard=part, batch_size=forward.batch_size,
                         workers=forward.workers, device=device, quiet=forward.quiet)
    record_part(report.folder, samples, part, report.samples)
    return report


def described(report: ExtractReport, data: Subset, root: Path) -> str:
    """Counts, the names of skipped files, and the next command."""
    from ..features.cache_spec import find_caches
    from ..features.sample_list import SAMPLES_FILE
    from ..fitting.checkpoint_folder import last_checkpoint

    lines = [
        f"{report.folder}: {report.computed:,} images computed, {report.reused:,} cached before, "
        f"{report.copied:,} copies of cached images, {len(report.skipped):,} skipped"
    ]
    lines += [f"  skipped {reason}" for _, reason in report.skipped[:NAMED_SKIPS]]
    if len(report.skipped) > NAMED_SKIPS:
        lines.append(f"  ... and {len(report.skipped) - NAMED_SKIPS:,} more")
    where = [] if root == CACHE else ["--cache", str(root)]
    counts = Counter(sample.label for sample in report.samples if sample.split == "train")
    fitted = "last"
    try:
        last_checkpoint()
    except UsageError:
        fitted = "CHECKPOINT"
    key = ["--key", report.folder.name] if len(find_caches(root)) > 1 else []
    held = ["--held-out", "0.3"] if min(counts.values(), default=FEW) < FEW else []
    step = ["fit", *where, *key, *held] if counts else ["eval", fitted, *data.arguments, *where]
    first = "" if (report.folder / SAMPLES_FILE).exists() else "the other parts, then "
    return "\n".join([*lines, f"next: {first}cinemae train {shlex.join(step)}"])
