"""One input -> its frames as the engine takes them, its hash and its evidence: all that is done before inference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike

import numpy as np
from PIL import Image

from .decode import describe, opened
from .display_text import display_name
from .engines.integrity import stream_sha256
from .errors import ImageError, TooLargeError
from .evidence.collect import collect
from .frames.load import load_frames
from .frames.loaded import Frame
from .manifest import Manifest
from .reasons import image_reasons
from .rows import Row
from .sources import AnySource, NamedSource, Prepared

NOT_A_SOURCE = "{} is no image: give a path, bytes, an open file, a Pillow image or a uint8 array [H, W, 3]"


@dataclass(frozen=True)
class Preparer:
    """Decodes inputs. Safe to call from many threads, and can be sent to another process.

    Attributes:
        manifest: of the engine.
        frames: frames of a moving picture that are scored.
        max_pixels: images with more pixels are refused.
        tile_patch: side of a patch in pixels, to cut frames into tiles; None for the centre crop.
        passes_on_large: an image with more pixels raises TooLargeError, in place of giving an error.
    """

    manifest: Manifest
    frames: int
    max_pixels: int
    tile_patch: int | None = None
    passes_on_large: bool = False

    @cached_property
    def _visible(self) -> np.ndarray:
        return self.manifest.masks.array()

    def __call__(self, source: AnySource, row: Row | None = None) -> Prepared:
        """Decode one input; one that cannot be read is returned with its `error`.

        Args:
            source: the input.
            row: where the pixels are to lie; None for memory of their own.

        Raises:
            TooLargeError: see `passes_on_large`.
        """
        name = display_name(source.name if isinstance(source, NamedSource) else describe(source))
        sha256: str | None = None
        try:
            if isinstance(source, NamedSource):
                if source.error is not None:
                    return Prepared(name, error=source.error)
                source = source.source
            kinds = (str, PathLike, bytes, bytearray, memoryview, np.ndarray, Image.Image)
            if not isinstance(source, kinds) and not hasattr(source, "read") and not callable(source):
                raise ImageError(NOT_A_SOURCE.format(type(source).__name__))
            with opened(source, name) as image:
                if not isinstance(image, (np.ndarray, Image.Image)):
                    sha256 = stream_sha256(image)
                loaded = load_frames(
                    image, self.manifest.preprocess, self.frames, self.max_pixels, name, self.tile_patch
                )
                evidence = () if isinstance(image, (np.ndarray, Image.Image)) else collect(image)
            frames = tuple(replace(frame, reasons=self._reasons(frame)) for frame in loaded.frames)
        except ImageError as error:
            if self.passes_on_large and isinstance(error, TooLargeError):
                raise
            return Prepared(name, error=display_name(str(error).removeprefix(f"{name}: ")), sha256=sha256)
        except Exception as error:  # one bad input must not end a run of thousands
            reason = display_name(f"cannot be read ({type(error).__name__}: {error})")
            return Prepared(name, error=reason, sha256=sha256)
        prepared = Prepared(name, frames, None, sha256, evidence, loaded.moving, loaded.count, loaded.notes)
        return prepared if row is None else prepared.with_crops(row.place(prepared.crops))

    def _reasons(self, frame: Frame) -> tuple[str, ...]:
        of_crops = [image_reasons(crop, self.manifest, self._visible) for crop in frame.crops]
        return tuple(reason for reason in of_crops[0] if all(reason in reasons for reasons in of_crops))
