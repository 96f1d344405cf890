"""The image of the self-test, made by integer arithmetic alone: the same bytes on every machine."""

from __future__ import annotations

import numpy as np


def golden_image(size: int = 224) -> np.ndarray:
    """uint8 [size, size, 3]: smooth ramps, a textured quarter and a few hard edges; the same bytes everywhere."""
    y, x = np.mgrid[0:size, 0:size].astype(np.int64)
    red = (x * 255) // (size - 1)
    green = (y * 255) // (size - 1)
    blue = ((x * x + y * y) // 97) % 256
    texture = (x * 1103515245 + y * 12345 + x * y * 7) % 251
    image = np.stack([red, green, blue], axis=2)
    quarter = (x > size // 2) & (y > size // 2)
    image[quarter] = (image[quarter] + texture[quarter][:, None]) // 2
    image[((x // 28) % 2 == 0) & (y < size // 8)] = 230
    return image.astype(np.uint8)
