"""The licence of an engine: never more than is known of the weights that it embeds."""

from __future__ import annotations

from ..runtime.core.errors import UsageError
from ..runtime.core.manifest import CC_BY_NC, Manifest


def engine_licence(manifest: Manifest, given: str | None) -> str:
    """Licence of the engine made from a checkpoint: the one given, else that of its backbone, "unknown" included.

    Args:
        manifest: of the checkpoint. Its own field is not read: in older checkpoints it is a default.
        given: with `--licence`.

    Raises:
        UsageError: another licence is given for the published MAE weights, which are under CC-BY-NC-4.0.
    """
    known = manifest.backbone.licence
    if known == CC_BY_NC and given not in (None, known):
        raise UsageError(f"--licence {given}: the engine embeds a backbone under {known}, and so it is; leave it out")
    return given or known
