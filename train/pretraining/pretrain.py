"""Self-supervised pretraining of a masked autoencoder from photographs (He et al. 2022): resumable, bounded in time."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

from ...runtime.core.environment import cpu_features
from ...runtime.core.errors import UsageError
from ...runtime.core.files import atomic_path, write_text
from ...runtime.core.manifest import BackboneConfig
from ...runtime.core.progress import Progress
from ..compute import choose_device
from ..model.lcas import normalise
from ..model.mae import MaskedAutoencoder, patchify
from ..weights.load import LoadedBackbone
from ..weights.save import WEIGHTS_FILE, save_backbone
from .photo_folder import PhotoFolder, collate, endless
from .pretrain_config import PretrainConfig

log = logging.getLogger("cinemae.train")

STATE_FILE, RECORD_FILE = "state.pt", "pretrain.json"


def random_visible(batch: int, config: BackboneConfig, generator: torch.Generator) -> Tensor:
    """Draw visible patches for every image of a batch: int64 [B, V]."""
    return torch.rand(batch, config.n_patches, generator=generator).argsort(dim=1)[:, : config.n_visible]


def masked_loss(model: MaskedAutoencoder, images: Tensor, keep: Tensor) -> Tensor:
    """Mean squared error on the masked patches in normalised pixel space [Eq. 1].

    Args:
        model: the masked autoencoder.
        images: ImageNet-normalised, float [B, 3, H, W].
        keep: visible patches, int64 [B, V].

    Returns:
        scalar float32.
    """
    prediction = model.reconstruct(images, keep).float()
    per_patch = (prediction - patchify(images, model.config.patch_size)).square().mean(dim=2)
    hidden = torch.ones_like(per_patch).scatter(1, keep, 0.0)
    return (per_patch * hidden).sum() / hidden.sum()


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The type to train in, None for float32; `auto` is bfloat16 where the device has matrix units for it.

    On a Xeon without AMX, bfloat16 was slower than float32.
    """
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else "amx_bf16" in cpu_features()
    return torch.bfloat16 if precision == "bf16" or (precision == "auto" and fast) else None


def optimiser(model: nn.Module, config: PretrainConfig) -> torch.optim.AdamW:
    """Make AdamW with betas (0.9, 0.95); biases, norms and tokens have no weight decay, as in the reference."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trainable if p.ndim >= 2 and p.shape[0] > 1]
    plain = [p for p in trainable if p.ndim < 2 or p.shape[0] == 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.95))


def learning_rate(progress: float, config: PretrainConfig) -> float:
    """Linear warm-up, then half a cosine to zero; `progress` runs from 0 to 1 over the whole run."""
    if progress < config.warmup:
        return config.lr * progress / config.warmup
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - config.warmup) / (1 - config.warmup))))


def seconds_left(config: PretrainConfig, steps: int, done: int, elapsed: float, before: float = 0.0) -> float:
    """Estimate when a run ends: by its epochs at the rate of this process, or by its minutes, whichever comes first.

    Args:
        config: recipe.
        steps: steps left to the end of the epochs.
        done: steps that this process has made.
        elapsed: seconds that it took for them.
        before: seconds that earlier processes have trained; they count for the minutes, not for the rate.
    """
    by_steps = steps * elapsed / done if done else math.inf
    by_time = config.max_minutes * 60 - before - elapsed if config.max_minutes else math.inf
    return max(0.0, min(by_steps, by_time))


def pretrain(
    folders: Sequence[Path], out: Path, backbone: BackboneConfig, config: PretrainConfig,
    initial: LoadedBackbone | None = None, quiet: bool = False,
) -> Path:
    """Train, saving the state every few minutes; the same call with the same `out` resumes a stopped run.

    Args:
        folders: photographs, searched recursively.
        out: folder of `backbone.safetensors` (FAIR's key layout, the configuration in its metadata), `pretrain.json`
            (recipe and loss curve) and `state.pt` (to resume).
        backbone: shape of the model.
        config: recipe.
        initial: weights to start from; the new weights keep their licence.
        quiet: show no progress.

    Returns:
        path of the weights.

    Raises:
        UsageError: fewer images than a batch, none readable, or the state in `out` is of another backbone.
    """
    torch.manual_seed(config.seed)
    device = choose_device("auto")
    dataset = PhotoFolder(folders, backbone.image_size, config.crop_scale)
    if len(dataset) < config.batch_size:
        raise UsageError(f"{len(dataset)} images do not fill a batch of {config.batch_size}; lower --batch-size")
    model = initial.mae.requires_grad_(True) if initial else MaskedAutoencoder(backbone)
    model = model.to(device).train()
    adam = optimiser(model, config)
    total_steps = max(1, config.epochs * len(dataset) // config.batch_size)
    step, before, curve = 0, 0.0, []
    out.mkdir(parents=True, exist_ok=True)
    state_path = out / STATE_FILE
    if state_path.exists():
        state = torch.load(state_path, weights_only=True, map_location=device)
        if state["backbone"] != backbone.model_dump_json():
            raise UsageError(f"{state_path} is of another backbone; choose another --out or delete it")
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["optimiser"])
        step, before, curve = state["step"], state["seconds"], state["curve"]
        log.info("resumed at step %d", step)

    sampler = RandomSampler(dataset, generator=torch.Generator().manual_seed(config.seed + step))
    loader = DataLoader(
        dataset, config.batch_size, sampler=sampler, num_workers=config.workers, collate_fn=collate, drop_last=True,
        persistent_workers=config.workers > 0, prefetch_factor=4 if config.workers else None,
    )
    generator = torch.Generator().manual_seed(config.seed + 1 + step)
    dtype = autocast_dtype(config.precision, device)
    start, first = time.monotonic(), step
    saved = start

    def seconds() -> float:
        return before + time.monotonic() - start

    def progress() -> float:
        by_time = seconds() / 60 / config.max_minutes if config.max_minutes else 0.0
        return max(step / total_steps, by_time)

    def save() -> None:
        state = {"model": model.state_dict(), "optimiser": adam.state_dict(), "step": step, "seconds": seconds(),
                 "curve": curve, "backbone": backbone.model_dump_json()}
        with atomic_path(state_path) as temporary:
            torch.save(state, temporary)
        save_backbone(model, out / WEIGHTS_FILE, initial.info.licence if initial else None, half=config.half)
        record = {"recipe": asdict(config), "backbone": backbone.model_dump(), "folders": [str(f) for f in folders],
                  "images": len(dataset), "steps": step, "minutes": seconds() / 60, "precision": str(dtype),
                  "curve": curve}
        write_text(out / RECORD_FILE, json.dumps(record, indent=1))

    recent: list[float] = []
    batches = endless(loader)
    total = None if config.max_minutes else total_steps * config.batch_size
    with Progress("images", total, done=step * config.batch_size, quiet=quiet) as shown:
        while progress() < 1:
            images = normalise(next(batches).to(device, torch.float32) / 255)
            lr = learning_rate(progress(), config)
            for group in adam.param_groups:
                group["lr"] = lr
            keep = random_visible(len(images), backbone, generator).to(device)
            adam.zero_grad(set_to_none=True)
            loss_sum = 0.0
            for x, seen in zip(images.split(config.micro_batch), keep.split(config.micro_batch), strict=True):
                with torch.autocast(device.type, dtype, enabled=dtype is not None):
                    loss = masked_loss(model, x, seen) * (len(x) / len(images))
                loss.backward()
                loss_sum += loss.item()
            adam.step()
            step += 1
            recent.append(loss_sum)
            left = seconds_left(config, total_steps - step, step - first, time.monotonic() - start, before)
            shown.advance(len(images), f"loss {sum(recent) / len(recent):.4f}", (progress(), left))
            if len(recent) == 50:
                curve.append([step, sum(recent) / len(recent)])
                recent = []
            if time.monotonic() - saved > config.save_minutes * 60:
                save()
                saved = time.monotonic()
    save()
    return out / WEIGHTS_FILE
