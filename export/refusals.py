"""Refusals of an export: to overwrite another engine, and to change the licence of published weights."""

from __future__ import annotations

from pathlib import Path

from ..runtime.core.errors import CinemaeError, UsageError
from ..runtime.core.manifest import CC_BY_NC, Manifest
from ..runtime.engines.file.header import read_manifest
from ..runtime.engines.load import BUNDLED_NAME


def refuse_bundled(path: str | Path) -> None:
    """Raise UsageError if `path` is named like the bundled engine."""
    if Path(path).name == BUNDLED_NAME:
        raise UsageError(f"{path}: that name belongs to the bundled engine; export under another name")


def refuse_other_precision(engine: Path, precision: str) -> None:
    """Raise UsageError if `engine` exists in another precision: overwriting it would change scores without a word."""
    try:
        found = read_manifest(engine).precision
    except CinemaeError:
        return  # nothing there, or nothing that can be used
    if found != precision:
        raise UsageError(
            f"{engine} holds a {found} engine: add --name {engine.stem}-{precision}, or --force to overwrite it"
        )


def engine_licence(manifest: Manifest, given: str | None) -> str:
    """The licence of an engine made from a checkpoint.

    Args:
        manifest: of the checkpoint; the licence of its backbone counts, "unknown" included.
        given: with `--licence`; replaces that of the backbone.

    Raises:
        UsageError: another licence is given for the published MAE weights, which are under CC-BY-NC-4.0.
    """
    known = manifest.backbone.licence
    if known == CC_BY_NC and given not in (None, known):
        raise UsageError(f"--licence {given}: the engine embeds a backbone under {known}; leave the option out")
    return given or known
