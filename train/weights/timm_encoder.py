"""Weights of a global encoder: a timm architecture, filled from a file or from the cache of the Hugging Face hub."""

from __future__ import annotations

import difflib
import sys
from typing import Any

import torch
from torch import Tensor

from ...runtime.core.errors import WeightsError
from ...runtime.core.manifest import Backbone, GlobalEncoder
from ...runtime.core.text import first_line
from ..model.global_encoder import TimmEncoder
from . import files
from .key_layouts import shorten
from .load import licence_of
from .locate import WeightsFiles, locate, read_json


def describe_encoder(source: str) -> GlobalEncoder:
    """Name, hash, licence and data configuration of an encoder, for cache and manifest; its weights are checked.

    Args:
        source: NAME of timm, with the tag of its weights on the hub, or NAME:FILE with weights in timm's layout.

    Raises:
        WeightsError: timm has no such architecture, the weights are missing, or they are another model's.
    """
    return _loaded(source, *_located(source))[1]


def recorded_encoder(backbone: Backbone) -> TimmEncoder | None:
    """Load the encoder that cache or manifest record; None where they record none.

    Raises:
        WeightsError: the weights are missing, or have another SHA-256.
    """
    recorded = backbone.global_encoder
    if recorded is None:
        return None
    name, found = _located(recorded.source)
    model, info = _loaded(recorded.source, name, found)
    if info.sha256 != recorded.sha256:
        raise WeightsError(
            f"{found.name} is not the global encoder that the features were made with: SHA-256 {info.sha256[:16]}..., "
            f"expected {recorded.sha256[:16]}...; put the right file there"
        )
    return TimmEncoder(model, recorded, backbone.config.image_size)


def _located(source: str) -> tuple[str, WeightsFiles]:
    """The architecture of a source, with its tag, and the files of its weights."""
    import timm

    given, _, file = source.removeprefix("hf-hub:").partition(":")
    name = given.removeprefix("timm/")
    architecture, _, tag = name.partition(".")
    published = timm.list_pretrained(f"{architecture}.*")
    if not timm.is_model(architecture) or (tag and name not in published):
        near = published or difflib.get_close_matches(architecture, timm.list_models(), 3)
        raise WeightsError(
            f"--global-encoder {source}: timm {timm.__version__} has no model {name!r} (similar: "
            f"{', '.join(near) or 'none'}); give NAME, or NAME:FILE.safetensors"
        )
    if file:
        return name, locate(file)
    hub = getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None)
    if not hub:
        raise WeightsError(f"--global-encoder {source}: timm knows no published weights of it; give {name}:FILE")
    return name, locate(hub)


def _loaded(source: str, name: str, found: WeightsFiles) -> tuple[Any, GlobalEncoder]:
    """Build the model and fill it with exactly the tensors of the files."""
    import timm

    raw = files.read(found)
    model: Any = timm.create_model(name, pretrained=False, num_classes=0)
    config = timm.data.resolve_model_data_config(model)
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise WeightsError(f"--global-encoder {name}: takes {channels} x {height} x {width}; a square RGB image is fed")
    _fill(model, raw.tensors, found.name)
    info = GlobalEncoder(
        source=source, name=name, sha256=files.sha256(found.files), size=height, mean=config["mean"],
        std=config["std"], dim=getattr(model, "head_hidden_size", model.num_features),
        licence=licence_of(found, raw.metadata, read_json(found.config) if found.config else {}),
    )
    return model.float(), info


def _fill(model: Any, tensors: dict[str, Tensor], name: str) -> None:
    """Load `tensors` by timm's own filter for the architecture; only a classifier may be left over.

    Raises:
        WeightsError: a key is missing or left over, a shape differs, or values are not finite.
    """
    renamed = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", lambda state, _: state)
    heads = model.pretrained_cfg.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else heads
    try:
        state = renamed(tensors, model)
        state = {key: value for key, value in state.items() if not key.startswith(tuple(f"{h}." for h in heads))}
        missing, left_over = model.load_state_dict(state, strict=False)
    except (RuntimeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{name}: does not fit timm's {type(model).__name__} ({first_line(error)})") from None
    if missing or left_over:
        problems = [f"missing: {shorten(missing)}"] * bool(missing)
        problems += [f"not used: {shorten(left_over)}"] * bool(left_over)
        raise WeightsError(f"{name}: the keys are not those of the named timm model ({'; '.join(problems)})")
    if wrong := [key for key, value in model.state_dict().items() if not torch.isfinite(value).all()]:
        raise WeightsError(f"{name}: {wrong[0]} is not finite: the file is damaged or its training diverged")
