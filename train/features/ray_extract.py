"""Extraction on a Ray cluster (`cinemae-train extract --ray`): Ray tasks fill one shared cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ...runtime.core.errors import CinemaeError
from ...runtime.ray.cluster import cluster, explained, require_ray, room, uses_gpu
from ..compute import choose_device
from ..data.sample import Sample
from ..model.mae import MaskedAutoencoder
from ..weights.load import load_backbone
from .cache_spec import CacheSpec
from .extract import ExtractReport, extract

PARTS_PER_WORKER = 4
"""More parts than workers: a lost worker costs little, and slow ones do not delay the end."""


@lru_cache(maxsize=1)
def _backbone(source: str) -> MaskedAutoencoder:
    """Load the model once in each worker process."""
    return load_backbone(source).mae


def _part(
    samples: Sequence[Sample], backbone: str, spec: CacheSpec, root: Path, *, folder: str, device: str, threads: int,
    **options: Any,
) -> ExtractReport:
    """Extract one part in a worker process; `folder` is the driver's working folder, `options` are of `extract`."""
    with suppress(OSError):  # relative paths belong to the driver's working folder; absolute ones need none
        os.chdir(folder)
    torch.set_num_threads(threads)
    options |= {"device": choose_device(device), "quiet": True}
    return extract(samples, lambda: _backbone(backbone), spec, root, **options)


def extract_on_ray(
    address: str, samples: Sequence[Sample], backbone: str, spec: CacheSpec, root: Path, *, batch_size: int = 32,
    workers: int = 2, device: str = "auto", threads: int = 1,
) -> ExtractReport:
    """Extract on a Ray cluster: the same rows in the same cache as by `extract`.

    A part whose worker dies is started again and computes only what the cache lacks; so does the command itself.

    Args:
        address: of the cluster, as `cluster` takes it.
        samples: the labelled images, at paths that every node sees.
        backbone: source of the weights, loaded once in each worker process.
        spec: decides the cache folder.
        root: of the cache, at a path that every node sees.
        batch_size: images in one forward pass.
        workers: decoding threads of a worker process.
        device: auto, cpu or cuda, chosen in each worker process.
        threads: threads of computation, and processors asked for, per worker process.

    Raises:
        CinemaeError: no cluster, or what a worker raised.
        MissingDependencyError: the extra is missing.
    """
    require_ray()
    import ray
    from ray.exceptions import RayError

    with cluster(address):
        parts = max(1, min(PARTS_PER_WORKER * room(device, threads), len(samples)))
        options = {"num_cpus": threads, "num_gpus": 1 if uses_gpu(device) else 0, "max_retries": -1}
        shared = ray.put(list(samples))
        part: Any = _part
        task = ray.remote(part).options(**options)
        running = [
            task.remote(shared, backbone, spec, root.resolve(), folder=os.getcwd(), device=device, threads=threads,
                        shard=(index, parts), batch_size=batch_size, workers=workers)
            for index in range(parts)
        ]
        try:
            reports: list[ExtractReport] = ray.get(running)
        except CinemaeError:
            raise
        except RayError as error:
            raise explained(error, "the same command continues it") from None
    return ExtractReport(
        folder=root / spec.key, computed=sum(report.computed for report in reports),
        reused=sum(report.reused for report in reports), copied=sum(report.copied for report in reports),
        samples=tuple(sample for report in reports for sample in report.samples),
        skipped=tuple(sorted(skipped for report in reports for skipped in report.skipped)),
    )
