"""Random values for every parameter of a module: default initialisation hides errors."""

from __future__ import annotations


def randomise(module, seed: int = 0) -> None:
    """Give every parameter a random value: default initialisation (zero biases, unit gains) hides errors."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            spread = 0.5 if parameter.ndim < 2 else 1.0 / max(1, parameter[0].numel()) ** 0.5
            noise = torch.randn(parameter.shape, generator=generator) * spread
            is_gain = name.endswith("weight") and parameter.ndim == 1
            parameter.copy_(1 + noise * 0.3 if is_gain else noise)
