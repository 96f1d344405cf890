"""One input -> its frames as the engine takes them, its hash and its evidence: all that is done before inference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from os import PathLike

import numpy as np
from PIL import Image

from ..core.errors import ImageError
from ..core.files import stream_sha256
from ..core.manifest import Manifest
from ..core.text import display_name, printable
from ..evidence.collect import collect
from ..evidence.fact import Evidence
from ..images.decode import MAX_PIXELS
from ..images.frames import Frame, load_frames
from ..images.preprocess import LoadedImage
from ..images.source import AnySource, NamedSource, describe, opened
from .options import ScoringOptions
from .reasons import image_reasons, reason
from .record import Failure, Reason, Record

SOURCES = (str, PathLike, bytes, bytearray, memoryview, np.ndarray, Image.Image)
NOT_A_SOURCE = "{} is no image: give a path, bytes, an open file, a Pillow image or a uint8 array [H, W, 3]"


@dataclass(frozen=True)
class Prepared:
    """One input after decoding; `frames` or `error` are set, unless there is a `previous` record.

    Attributes:
        name: the record's `path`.
        frames: the frames that are scored; one for a still image.
        reasons: of each frame, what follows from its pixels alone.
        error: why there is none.
        sha256: of the input's bytes, hex; None where there are no bytes.
        evidence: facts from the file's metadata.
        moving: whether the input is an animation or a video.
        count: frames in the file; None where that is not known.
        notes: sentences about frames that were not looked at.
        previous: the record of an earlier run, which a resumed run takes over without scoring; `frames` are then for
            its picture alone.
    """

    name: str
    frames: tuple[Frame, ...] = ()
    reasons: tuple[tuple[Reason, ...], ...] = ()
    error: Failure | None = None
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
    def crops(self) -> list[np.ndarray]:
        """All inputs of the network, each uint8 [S, S, 3]."""
        return [crop.pixels for frame in self.frames for crop in frame.crops]

    def picture(self, record: Record) -> np.ndarray | None:
        """The picture that `record` judges, uint8 [H, W, 3]; None where there is none."""
        chosen = record.frames.verdict_from if record.frames else None
        pictures = (frame.picture for frame in self.frames if chosen in (None, frame.index))
        return next(pictures, None)


@dataclass(frozen=True)
class Preparer:
    """Decodes inputs. Safe to call from many threads.

    Attributes:
        manifest: of the engine.
        options: of the run.
    """

    manifest: Manifest
    options: ScoringOptions

    @classmethod
    def of(cls, manifest: Manifest, options: ScoringOptions) -> Preparer:
        """The Preparer of a run, whose way to decode becomes that of its manifest."""
        how = options.decode or manifest.preprocess.decode
        preprocess = manifest.preprocess.model_copy(update={"decode": how})
        return cls(manifest.model_copy(update={"preprocess": preprocess}), options)

    @cached_property
    def _visible(self) -> np.ndarray:
        return self.manifest.masks.array()

    def __call__(self, source: AnySource) -> Prepared:
        """Decode one input; one that cannot be read is returned with its `error`."""
        name = display_name(source.name if isinstance(source, NamedSource) else describe(source))
        sha256: str | None = None
        tile_patch = self.manifest.backbone.config.patch_size if self.options.tiles else None
        try:
            if isinstance(source, NamedSource):
                if source.error is not None:
                    return _failed(name, source.error)
                source = source.image
            if not isinstance(source, SOURCES) and not hasattr(source, "read") and not callable(source):
                raise ImageError(NOT_A_SOURCE.format(type(source).__name__), "unsupported")
            with opened(source, name) as image:
                encoded = None if isinstance(image, (np.ndarray, Image.Image)) else image
                sha256 = None if encoded is None else stream_sha256(encoded)
                loaded = load_frames(
                    image, self.manifest.preprocess, self.options.max_frames,
                    max_pixels=self.options.max_pixels or MAX_PIXELS, name=name, tile_patch=tile_patch,
                )
                evidence: tuple[Evidence, ...] = ()
                if encoded is not None:
                    evidence = collect(encoded, loaded.opened, self.options.trust_list, self.options.positions)
            flaws = () if loaded.flaw is None else (reason(loaded.flaw),)
            reasons = tuple((*self._reasons(frame), *flaws) for frame in loaded.frames)
        except ImageError as error:
            return _failed(name, error, sha256)
        except Exception as error:  # one bad input must not end a run of thousands
            text = f"cannot be read ({type(error).__name__}: {error})"
            return _failed(name, ImageError(text, "unreadable"), sha256)
        return Prepared(
            name, loaded.frames, reasons, sha256=sha256, evidence=evidence, moving=loaded.moving, count=loaded.count,
            notes=loaded.notes,
        )

    def _reasons(self, frame: Frame) -> tuple[Reason, ...]:
        of_crops = [image_reasons(crop, self.manifest, self._visible) for crop in frame.crops]
        return tuple(one for one in of_crops[0] if all(one in reasons for reasons in of_crops))


def _failed(name: str, error: ImageError, sha256: str | None = None) -> Prepared:
    text = printable(display_name(str(error).removeprefix(f"{name}: ").strip()))
    return Prepared(name, error=Failure(error.kind, text), sha256=sha256)
