"""Named shapes of masked autoencoders: the published shapes, and the small shape of this project."""

from __future__ import annotations

from ...runtime.core.errors import UsageError
from ...runtime.core.manifest import BackboneConfig

PRESETS: dict[str, BackboneConfig] = {
    config.name: config
    for config in (
        BackboneConfig(name="vit_base_patch16", encoder_dim=768, encoder_depth=12, encoder_heads=12,
                       decoder_dim=512, decoder_depth=8, decoder_heads=16),
        BackboneConfig(name="vit_large_patch16", encoder_dim=1024, encoder_depth=24, encoder_heads=16,
                       decoder_dim=512, decoder_depth=8, decoder_heads=16),
        BackboneConfig(name="vit_huge_patch14", patch_size=14, encoder_dim=1280, encoder_depth=32, encoder_heads=16,
                       decoder_dim=512, decoder_depth=8, decoder_heads=16),
        BackboneConfig(name="vit_tiny_patch16", encoder_dim=192, encoder_depth=12, encoder_heads=3,
                       decoder_dim=128, decoder_depth=4, decoder_heads=4),
    )
}


def preset(name: str) -> BackboneConfig:
    """Look up a configuration by name.

    Raises:
        UsageError: unknown name; the message lists those that exist.
    """
    if name not in PRESETS:
        raise UsageError(f"unknown backbone {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]
