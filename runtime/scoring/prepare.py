"""One input -> its frames as the engine takes them, its hash and its evidence: all that is done before inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike

import numpy as np
from PIL import Image

from ..core.errors import ImageError, TooLargeError
from ..core.files import stream_sha256
from ..core.manifest import Manifest
from ..core.rows import Row
from ..core.text import display_name
from ..evidence.collect import collect
from ..evidence.fact import Evidence
from ..images.decode import describe, opened
from ..images.frames import load_frames
from ..images.loaded import Frame
from ..images.preprocess import LoadedImage
from ..images.source import AnySource, NamedSource
from .reasons import image_reasons
from .record import Record

NOT_A_SOURCE = "{} is no image: give a path, bytes, an open file, a Pillow image or a uint8 array [H, W, 3]"


@dataclass(frozen=True)
class Prepared:
    """One input after decoding; exactly one of `frames`, `error` and `previous` is set.

    Attributes:
        name: the record's `path`.
        frames: the frames that are scored; one for a still image.
        error: why there is none.
        sha256: of the input's bytes, hex; None where there are no bytes.
        evidence: facts from the file's metadata.
        moving: whether the input is an animation or a video.
        count: frames in the file; None where that is not known.
        notes: sentences about frames that were not looked at.
        previous: the record of an earlier run, which a resumed run takes over without scoring.
    """

    name: str
    frames: tuple[Frame, ...] = ()
    error: str | None = None
    sha256: str | None = None
    evidence: tuple[Evidence, ...] = ()
    moving: bool = False
    count: int | None = 1
    notes: tuple[str, ...] = ()
    previous: Record | None = None

    @property
    def image(self) -> LoadedImage | None:
        """The first crop that is scored; None where the input could not be decoded."""
        return self.frames[0].crops[0] if self.frames else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences that follow from the pixels of the first frame alone."""
        return self.frames[0].reasons if self.frames else ()

    @property
    def crops(self) -> list[np.ndarray]:
        """All inputs of the network, each uint8 [S, S, 3]."""
        return [crop.pixels for frame in self.frames for crop in frame.crops]

    def with_crops(self, crops: Sequence[np.ndarray]) -> Prepared:
        """The same input with other arrays for `crops`, in their order."""
        rest = iter(crops)
        frames = (
            replace(frame, crops=tuple(replace(crop, pixels=next(rest)) for crop in frame.crops))
            for frame in self.frames
        )
        return replace(self, frames=tuple(frames))

    def picture(self, record: Record) -> np.ndarray | None:
        """The picture that `record` judges, uint8 [H, W, 3]; None where there is none."""
        chosen = record.frames.verdict_from if record.frames else None
        pictures = (frame.picture for frame in self.frames if chosen in (None, frame.index))
        return next(pictures, None)


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
                evidence = () if isinstance(image, (np.ndarray, Image.Image)) else collect(image, loaded.opened)
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
