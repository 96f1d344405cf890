"""Coverage-guided fuzzing of what strangers can hand to the runtime: image bytes, engine files, manifests.

    pip install atheris && pip install .
    python tests/fuzz/fuzz.py image -max_total_time=400
    python tests/fuzz/fuzz.py engine -max_total_time=120
    python tests/fuzz/fuzz.py manifest -max_total_time=80

Everything after the target goes to libFuzzer. The seeds are rendered, none is anybody's file. A finding is any
exception that is not the documented one; libFuzzer then writes the input to `crash-*` and stops.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

with atheris.instrument_imports(include=["PIL", "cinemae", "pillow_heif"]):
    import cinemae.runtime.decode as decoding
    import cinemae.runtime.engines.integrity as integrity
    import cinemae.runtime.engines.onnx_file as onnx_file
    import cinemae.runtime.engines.onnx_graph as onnx_graph
    import cinemae.runtime.manifest as manifests
    import cinemae.runtime.preprocess as preprocess
    import PIL.Image
    from cinemae.runtime.errors import EngineError, ImageError, ManifestError
    from cinemae.runtime.masks import draw_visible

from pictures import encoded, picture

SMALL = manifests.Preprocess(resize_short=72, crop=64)
MAX_PIXELS = 1_000_000


def one_line(error: Exception) -> None:
    """Fail on a message that would break the command's one line."""
    if "\n" in str(error):
        raise RuntimeError(f"a message of several lines: {error!r}")


def image(data: bytes) -> None:
    """Any bytes: 64 x 64 pixels or one ImageError."""
    try:
        loaded = preprocess.load_image(data, SMALL, MAX_PIXELS)
    except ImageError:
        return
    assert loaded.pixels.shape == (64, 64, 3)


def engine(data: bytes) -> None:
    """Any bytes as an `.onnx` file: a manifest, a graph, a hash, or one EngineError."""
    SCRATCH.write_bytes(data)
    for read in (onnx_file.read_manifest, check_graph, integrity.check_content, integrity.content_hash):
        try:
            read(SCRATCH)
        except EngineError as error:
            one_line(error)


def check_graph(path: Path) -> None:
    """The graph's check beside the manifest of `manifest_seed`."""
    onnx_graph.check_graph(path, manifests.Manifest.from_json(manifest_seed(), "fuzz"))


def manifest(data: bytes) -> None:
    """Any bytes as a manifest: one that survives a round trip, or one ManifestError of one line."""
    try:
        found = manifests.Manifest.from_json(data, "fuzz")
    except ManifestError as error:
        one_line(error)
        return
    assert manifests.Manifest.from_json(found.to_json(), "again") == found


def image_seeds() -> list[bytes]:
    """Small files of every kind this Pillow writes, in several modes, one animated, one with EXIF."""
    small = picture(24, 20)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    animation = encoded(small, "GIF", save_all=True, append_images=[picture(24, 20, 1)])
    seeds = [animation, encoded(small, "JPEG", exif=exif), encoded(small.convert("CMYK"), "TIFF")]
    seeds += [encoded(small.convert("CMYK"), "JPEG")]
    seeds += [encoded(small.convert(mode)) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
    return seeds + [encoded(small, kind) for kind in decoding.usable_formats() if kind in PIL.Image.SAVE]


def manifest_seed() -> bytes:
    """A small valid manifest."""
    config = manifests.BackboneConfig(
        image_size=64, encoder_dim=32, encoder_depth=1, encoder_heads=2,
        decoder_dim=16, decoder_depth=1, decoder_heads=2,
    )  # fmt: skip
    visible = draw_visible(config.n_patches, 2, "balanced", 0)
    found = manifests.Manifest(
        name="fuzz", kind="fused", method=manifests.MethodConfig(), head=manifests.HeadConfig(),
        preprocess=SMALL, backbone=manifests.Backbone(config=config, source="none", sha256="0" * 64, licence="none"),
        masks=manifests.Masks(visible=tuple(tuple(int(i) for i in row) for row in visible)),
    )  # fmt: skip
    return found.to_json().encode()


def field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    length, size = bytearray(), len(data)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2]) + bytes(length) + bytes([size]) + data


def engine_seed() -> bytes:
    """The frame of an ONNX file: version, an empty graph, an opset, the manifest."""
    opset = field(onnx_file.OPSET_IMPORT, b"\x10\x11")
    entry = field(1, manifests.METADATA_KEY.encode()) + field(2, manifest_seed())
    SCRATCH.write_bytes(b"\x08\x08" + field(7, b"graph") + opset + field(onnx_file.METADATA_PROPS, entry))
    integrity.seal(SCRATCH)
    integrity.check_content(SCRATCH)
    onnx_file.read_manifest(SCRATCH)
    return SCRATCH.read_bytes()


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "image": (image, image_seeds),
    "engine": (engine, lambda: [engine_seed()]),
    "manifest": (manifest, lambda: [manifest_seed(), json.dumps({"schema_version": 1}).encode()]),
}


def main() -> None:
    """Write the seeds into a scratch corpus and hand over to libFuzzer."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        print(f"usage: fuzz.py {'|'.join(TARGETS)} [libFuzzer options]", file=sys.stderr)
        sys.exit(2)
    target, seeds = TARGETS[sys.argv[1]]
    warnings.simplefilter("ignore")
    corpus = Path(SCRATCH_FOLDER) / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds()):
        target(seed)
        (corpus / f"seed{number}").write_bytes(seed)
    sys.stdout = io.StringIO()  # libFuzzer reports on stderr
    atheris.Setup([sys.argv[0], *sys.argv[2:], str(corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="cinemae-fuzz-") as SCRATCH_FOLDER:
        SCRATCH = Path(SCRATCH_FOLDER) / "x.onnx"
        main()
