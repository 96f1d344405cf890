"""Refusals of an export: to overwrite another engine, and to change the licence of published weights."""

from __future__ import annotations

from pathlib import Path

from ..runtime.core.errors import CinemaeError, UsageError
from ..runtime.core.manifest import CC_BY_NC
from ..runtime.engines.file.header import read_manifest
from ..runtime.engines.load import BUNDLED_NAME


def refuse_bundled(path: str | Path) -> None:
    """Raise UsageError if `path` is named like the bundled engine."""
    if Path(path).name == BUNDLED_NAME:
        raise UsageError(f"{path}: that name belongs to the bundled engine; export under another name")


def refuse_other_precision(engine: Path, precision: str, way: str | None = None) -> None:
    """Raise UsageError if `engine` exists in another precision: overwriting it would change scores without a word.

    Args:
        engine: the file to be written.
        precision: of the new engine.
        way: what the user can do instead, for the message. Default: the options of `cinemae export`.
    """
    try:
        found = read_manifest(engine).precision
    except CinemaeError:
        return  # nothing there, or nothing that can be used
    if found != precision:
        way = way or f"add --name {engine.stem}-{precision}, or --force to overwrite it"
        raise UsageError(f"{engine} holds a {found} engine: {way}")


def engine_licence(known: str, given: str | None) -> str:
    """The licence of an engine.

    Args:
        known: joint licence of the weights; "unknown" counts.
        given: with `--licence`; replaces that of the backbone.

    Raises:
        UsageError: another licence is given for weights under CC-BY-NC-4.0, as the published MAE's are.
    """
    if CC_BY_NC in known.split(" AND ") and given not in (None, known):
        raise UsageError(f"--licence {given}: the engine embeds a backbone under {known}; leave the option out")
    return given or known
