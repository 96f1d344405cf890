"""Coverage-guided fuzzing of what strangers can hand to the runtime: images, engines, manifests, sidecars, requests.

    pip install atheris && pip install '.[formats,serve]'
    python tests/fuzz/fuzz.py image -max_total_time=600  # or any other of TARGETS

Everything after the target goes to libFuzzer. The seeds are rendered, none is anybody's file. A finding is any
exception that is not the documented one; libFuzzer then writes the input to `crash-*` and stops.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

with atheris.instrument_imports(include=["PIL", "cinemae", "pillow_heif", "python_multipart", "starlette"]):
    import cinemae.runtime.core.manifest as manifests
    import cinemae.runtime.engines.file.graph as onnx_graph
    import cinemae.runtime.engines.file.header as onnx_file
    import cinemae.runtime.engines.file.integrity as integrity
    import cinemae.runtime.engines.tensorrt.sidecar as plan_sidecar
    import cinemae.runtime.images.decode as decoding
    import cinemae.runtime.images.preprocess as preprocess
    import PIL.Image
    from cinemae.runtime.core.environment import this_platform
    from cinemae.runtime.core.errors import EngineError, ImageError, ManifestError
    from cinemae.runtime.evidence.c2pa_reports import Reports
    from cinemae.runtime.evidence.collect import collect  # noqa: F401  (its readers are what the fuzzer explores)
    from cinemae.runtime.evidence.content_credentials import facts_of_reports
    from cinemae.runtime.serve.options import MIB, Limits
    from cinemae.runtime.serve.problems import Problem
    from cinemae.runtime.serve.uploads import Body, ByteBudget, read_uploads
    from starlette.requests import Request

import report_samples as samples
from facts_of import facts_of
from metadata_files import exif_of, gif_with_xmp, iptc_of, photoshop_of, png_texts, raw_profile, segments, xmp_of
from pictures import encoded, picture

SMALL = manifests.Preprocess(resize_short=72, crop=64)
TENSORRT, GPU = "10.3.0", plan_sidecar.CudaDevice("NVIDIA L4", "8.9")
LIMITS = Limits(max_body_mb=3000 / MIB, max_file_mb=2000 / MIB, max_images=4, max_buffered_mb=6000 / MIB)
LOOP = asyncio.new_event_loop()
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
    for read in (onnx_file.read_manifest, check_graph, integrity.check_content):
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


def sidecar(data: bytes) -> None:
    """Any bytes as the sidecar of a plan: a round trip and a comparison with this machine, or an EngineError."""
    plan = SCRATCH.with_name("x.plan")
    plan.write_bytes(b"plan")
    path = plan_sidecar.sidecar_path(plan)
    path.write_bytes(data)
    try:
        found = plan_sidecar.read_sidecar(plan)
    except EngineError as error:
        one_line(error)
        return
    path.write_text(found.model_dump_json())
    assert plan_sidecar.read_sidecar(plan) == found
    for check in (
        lambda: plan_sidecar.check_plan(plan, found),
        lambda: plan_sidecar.check_source(plan, found),
        lambda: plan_sidecar.check_machine(plan, found, TENSORRT, GPU),
    ):
        try:
            check()
        except EngineError as error:
            one_line(error)


def multipart(data: bytes) -> None:
    """Any bytes as a request (chunk size, content type, line feed, body): uploads within the limits, or a Problem."""
    kind, _, content = data[1:].partition(b"\n")
    step = max(data[0] if data else 0, 1)
    parts = [content[at : at + step] for at in range(0, len(content), step)] or [b""]
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False
    left = iter(messages)

    async def receive() -> dict[str, object]:
        return next(left, {"type": "http.disconnect"})

    scope = {"type": "http", "method": "POST", "path": "/v1/detect", "headers": [(b"content-type", kind)]}
    budget = ByteBudget(LIMITS.max_buffered_bytes, lambda: 1)
    with budget.account() as take:
        try:
            reading = read_uploads(Request(scope, receive), Body(scope, receive), "upload", LIMITS, take)
            uploads = LOOP.run_until_complete(reading)
        except Problem as problem:
            if problem.status >= 500:
                raise RuntimeError(f"blames the server: {problem!r}") from problem
        else:
            assert 1 <= len(uploads) <= LIMITS.max_images
            assert sum(len(upload.image) for upload in uploads) <= len(content) <= LIMITS.max_body_bytes
    assert budget.used == 0


CARRIERS: dict[str, Callable[[bytes], bytes]] = {
    "exif": lambda data: segments((0xE1, b"Exif\0\0" + data[:65000])),
    "xmp": lambda data: segments((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + data[:65000])),
    "iptc": lambda data: segments((0xED, b"Photoshop 3.0\0" + data[:65000])),
    "texts": lambda data: png_texts(dict.fromkeys(("parameters", "Comment", "AIGC"), data.decode("latin-1"))),
    "profile": lambda data: raw_profile("exif", data),
    "gif": gif_with_xmp,
}
"""A file that carries the bytes where one reader of evidence finds them."""
EVIDENCE_SEEDS: dict[str, list[bytes]] = {
    "exif": [exif_of({"Make": "A", "UserComment": "Steps: 1, Seed: 2"})[6:]],
    "xmp": [xmp_of({"xmp:CreatorTool": "A"}), xmp_of({"TC260:AIGC": '{"Label": "1"}'}).decode().encode("utf-16")],
    "iptc": [photoshop_of({"Credit": "A"}), iptc_of({"Credit": "A"})],
    "texts": [b"Steps: 1, Seed: 2", b'{"class_type": 1}', b'{"Label": "1", "ContentProducer": "x"}'],
    "profile": [exif_of({"Make": "A", "UserComment": "Steps: 1, Seed: 2"})],
    "gif": [xmp_of({"xmp:CreatorTool": "A"})],
}


def evidence(carrier: str) -> Callable[[bytes], None]:
    """Any bytes in one place of metadata: facts whose statements are short and printable."""

    def check(data: bytes) -> None:
        for fact in facts_of(CARRIERS[carrier](data)):
            assert fact.statement.isprintable()
            assert len(fact.statement) < 2000
            assert len(fact.raw or "") <= 2000

    return check


def credentials(data: bytes) -> None:
    """Any JSON as c2pa's report: facts, or an exception that `collect` takes."""
    try:
        report = json.loads(data)
        facts = list(facts_of_reports(Reports(report, (("listed", report),)), "fuzz"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    assert all(fact.statement.isprintable() for fact in facts)


def credentials_seed() -> bytes:
    """A report on a parent and a component, with every part that is read."""
    passed, failed = [{"code": "claimSignature.validated", "url": "/b/"}], [{"code": "x.y", "url": "/a/"}]
    codes = {"success": passed, "failure": failed}
    action = {"action": "c2pa.created", "digitalSourceType": "x/trainedAlgorithmicMedia", "softwareAgentIndex": 0}
    data = {"actions": [action], "softwareAgents": [{"name": "d"}]}
    made = {"assertions": [{"label": "c2pa.actions.v2", "data": data}]}
    parent = {"relationship": "parentOf", "active_manifest": "b", "validation_results": {"activeManifest": codes}}
    return json.dumps({
        "active_manifest": "a", "manifests": {"a": {**made, "ingredients": [parent]}, "b": made},
        "validation_results": {"activeManifest": codes, "ingredientDeltas": [{"validationDeltas": codes}]},
    }).encode()


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
    )
    return samples.manifest(config).to_json().encode()


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


def sidecar_seed() -> bytes:
    """A sidecar that fits the plan of `sidecar` and this `GPU`."""
    found = plan_sidecar.PlanSidecar(
        manifest=manifests.Manifest.from_json(manifest_seed(), "fuzz"), tensorrt=TENSORRT, gpu=GPU.name,
        platform=this_platform(), compute_capability=GPU.capability, batch=(1, 8, 32),
        plan_sha256=hashlib.sha256(b"plan").hexdigest(),
        source="x.onnx", source_sha256="0" * 64, source_external={"x.data": "0" * 64},
    )
    return found.model_dump_json().encode()


def multipart_seeds() -> list[bytes]:
    """Requests with two files and a field, in small and large chunks, an unfinished one, and a raw body."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\nContent-Type: image/png\r\n\r\n%b\r\n'
    form = b"multipart/form-data; boundary=b\n" + head % (b"a.png", b"\x89PNG") + head % (b"", b"--b\r\n-")
    form += b'--b\r\nContent-Disposition: form-data; name="url"\r\n\r\nv\r\n--b--\r\n'
    starred = head.replace(b"\"%b\"", b"\"%b\"; filename*=utf-8''%%41")
    star = b"multipart/form-data; charset=utf-8; boundary=\"b\"\n" + starred
    return [b"\x03" + form, b"\xff" + form, b"\xff" + form[:150], b"\x80" + star % (b"x", b"y"), b"\x10image/png\nabc"]


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "image": (image, image_seeds),
    "engine": (engine, lambda: [engine_seed()]),
    "manifest": (manifest, lambda: [manifest_seed(), json.dumps({"schema_version": 1}).encode()]),
    "sidecar": (sidecar, lambda: [sidecar_seed()]),
    "multipart": (multipart, multipart_seeds),
    "credentials": (credentials, lambda: [credentials_seed()]),
    **{name: (evidence(name), lambda name=name: EVIDENCE_SEEDS[name]) for name in CARRIERS},
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
