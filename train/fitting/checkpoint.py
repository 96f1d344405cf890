"""Checkpoints: a folder with the head, the stored mask sets, the manifest, the metrics and, if asked for, the backbone.

head.safetensors      parameters and standardisation of the best epoch, `mask_sets` int64 [R, K, V], first: deployed
last.safetensors      the same of the last epoch
scores.safetensors    what the calibration was fitted on (`calibration.scores`)
manifest.json         `runtime.core.manifest.Manifest`
metrics.json          the fitting curve, held-out figures
samples.jsonl         the images trained on and held out (`features.sample_list`)
backbone.safetensors  only with --embed-backbone; otherwise the manifest names source and SHA-256
"""

from __future__ import annotations

import itertools
import json
import logging
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...runtime.core.errors import EngineError, UsageError, WeightsError
from ...runtime.core.files import atomic_path, file_sha256, write_text
from ...runtime.core.manifest import Manifest
from ...runtime.core.text import first_line
from ..calibration.scores import Scores
from ..data.sample import Sample
from ..features.sample_list import SAMPLES_FILE, read_recorded, write_recorded
from ..model.detector import CinemaeDetector
from ..model.head import Head
from ..model.mae import MaskedAutoencoder
from ..weights.load import load_backbone
from ..weights.save import WEIGHTS_FILE, save_backbone
from ..weights.timm_encoder import recorded_encoder
from .checkpoint_folder import (
    HEAD_FILE,
    LAST_FILE,
    MANIFEST_FILE,
    METRICS_FILE,
    SCORES_FILE,
    read_manifest,
    refuse_foreign,
)

log = logging.getLogger("cinemae.train")

MASKS_KEY = "mask_sets"
EMBEDDED_KEY = "cinemae.embedded_sha256"


@dataclass(frozen=True)
class LoadedHead:
    """A checkpoint without its backbone: enough to score a cache.

    Attributes:
        folder: of the checkpoint.
        head: in eval mode.
        manifest: of the checkpoint.
        mask_sets: all stored masks, int64 [R, K, V], the deployed set first.
        embedded_sha256: of the backbone inside the folder; None where it is not embedded.
    """

    folder: Path
    head: Head
    manifest: Manifest
    mask_sets: np.ndarray
    embedded_sha256: str | None


@dataclass(frozen=True)
class LoadedCheckpoint(LoadedHead):
    """A checkpoint with its backbone.

    Attributes:
        detector: in eval mode, with the deployed masks.
    """

    detector: CinemaeDetector


def save_checkpoint(
    folder: str | Path, head: Head, mask_sets: np.ndarray, manifest: Manifest, *,
    last: dict[str, Tensor] | None = None, metrics: dict[str, Any] | None = None,
    embed: MaskedAutoencoder | None = None, scores: Scores | None = None, samples: Iterable[Sample] = (),
) -> Path:
    """Write a whole checkpoint beside `folder`, then rename it into place, so that no reader sees a part of it.

    Args:
        folder: of the checkpoint; an older checkpoint there is kept under another name.
        head: the deployed parameters.
        mask_sets: int64 [R, K, V]; the first set must be the manifest's masks.
        manifest: of the checkpoint.
        last: state of the head after the last epoch.
        metrics: content of metrics.json.
        embed: the backbone, stored inside the checkpoint.
        scores: what the calibration was fitted on, so that other rates can be chosen later.
        samples: the images trained on and held out, so that `eval` knows them under any name.

    Raises:
        UsageError: `folder` exists and is no checkpoint, or the masks are not the manifest's.
    """
    folder = Path(folder)
    if not np.array_equal(mask_sets[0], manifest.masks.array()):
        raise UsageError("the first mask set must be the one in the manifest")
    refuse_foreign(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    fresh.mkdir()
    try:
        metadata = {}
        if embed is not None:
            save_backbone(embed, fresh / WEIGHTS_FILE)
            metadata[EMBEDDED_KEY] = file_sha256(fresh / WEIGHTS_FILE)
        masks = torch.from_numpy(np.ascontiguousarray(mask_sets))
        _save_state(fresh / HEAD_FILE, head.state_dict(), masks, metadata)
        if last is not None:
            _save_state(fresh / LAST_FILE, last, masks, metadata)
        if scores is not None:
            scores.save(fresh / SCORES_FILE)
        write_recorded(fresh / SAMPLES_FILE, samples)
        write_text(fresh / METRICS_FILE, json.dumps(metrics or {}, indent=1))
        write_text(fresh / MANIFEST_FILE, manifest.to_json(indent=1))
        _swap(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _save_state(path: Path, state: dict[str, Tensor], masks: Tensor, metadata: dict[str, str]) -> None:
    tensors = {f"head.{name}": value.detach().cpu().contiguous() for name, value in state.items()}
    with atomic_path(path) as temporary:
        save_file({**tensors, MASKS_KEY: masks}, temporary, metadata=metadata)


def _swap(fresh: Path, folder: Path) -> None:
    """Put `fresh` where `folder` is; an older checkpoint there, with its evaluation, is kept as NAME-1, NAME-2, ..."""
    if folder.exists() and any(folder.iterdir()):
        numbers = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(1))
        kept = next(path for path in numbers if not path.exists())
        folder.rename(kept)
        log.warning("the older checkpoint %s is now %s", folder, kept)
    elif folder.exists():
        folder.rmdir()
    fresh.rename(folder)


def load_head(folder: str | Path) -> LoadedHead:
    """Load head, masks and manifest.

    Raises:
        UsageError: `folder` is no checkpoint.
        ManifestError: the manifest is damaged.
        EngineError: the head is missing or damaged, or does not belong to the manifest.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    path = folder / HEAD_FILE
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            embedded = (file.metadata() or {}).get(EMBEDDED_KEY)
    except (FileNotFoundError, SafetensorError) as error:
        raise EngineError(f"{path}: missing or damaged ({error}); fit the head again with: cinemae-train fit") from None
    head = Head(manifest.backbone.dim, manifest.head)
    try:
        mask_sets = tensors.pop(MASKS_KEY).numpy()
        head.load_state_dict({name.removeprefix("head."): value for name, value in tensors.items()})
    except (KeyError, RuntimeError) as error:
        reason = first_line(error)
        raise EngineError(f"{path} does not belong to the manifest beside it ({reason}); fit the head again") from None
    if not np.array_equal(mask_sets[0], manifest.masks.array()):
        raise EngineError(f"{path}: its masks are not those of the manifest beside it; fit the head again")
    return LoadedHead(folder, head.eval(), manifest, mask_sets, embedded)


def fitted_samples(folder: Path) -> list[Sample]:
    """The images that the head of a checkpoint was trained on, and those that were held out.

    Raises:
        UsageError: the checkpoint does not say.
    """
    path = folder / SAMPLES_FILE
    if not path.exists():
        raise UsageError(f"{path} is missing: nothing tells which images the head was fitted on; fit again")
    return read_recorded(path)


def load_checkpoint(folder: str | Path, backbone: str | Path | None = None) -> LoadedCheckpoint:
    """Load the whole detector; arguments and errors as in `load_head` and `load_checkpoint_backbone`."""
    loaded = load_head(folder)
    mae = load_checkpoint_backbone(loaded, backbone)
    encoder = recorded_encoder(loaded.manifest.backbone)
    detector = CinemaeDetector(mae, loaded.head, loaded.mask_sets[0], loaded.manifest.method, encoder).eval()
    return LoadedCheckpoint(**vars(loaded), detector=detector)


def load_checkpoint_backbone(loaded: LoadedHead, backbone: str | Path | None = None) -> MaskedAutoencoder:
    """Load the backbone a head was fitted on.

    Args:
        loaded: the checkpoint.
        backbone: source of the weights; None takes those inside the folder, else the source in the manifest.

    Raises:
        WeightsError: the backbone is not found, or is not the backbone the head was fitted on (by SHA-256).
    """
    named = loaded.manifest.backbone
    embedded = loaded.folder / WEIGHTS_FILE
    if backbone is None and loaded.embedded_sha256:
        if not embedded.exists() or file_sha256(embedded) != loaded.embedded_sha256:
            raise WeightsError(
                f"{embedded}: the embedded backbone is missing or was changed; fit again with --embed-backbone"
            )
        return load_backbone(embedded).mae
    source = str(backbone or named.source)
    try:
        found = load_backbone(source)
    except WeightsError as error:
        raise WeightsError(f"{error} (the backbone of {loaded.folder}; name another place with --backbone)") from None
    if found.info.sha256 != named.sha256:
        raise WeightsError(
            f"{source} is not the backbone {loaded.folder} was fitted on: SHA-256 {found.info.sha256[:16]}..., "
            f"expected {named.sha256[:16]}...; name the right file with --backbone"
        )
    return found.mae
