"""`cinemae export ENGINE.onnx --web DIR`: write the static site around an engine."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import __version__ as pillow_version

from ...runtime import report, serve
from ...runtime.core.calibration import LOG10_WORDS
from ...runtime.core.errors import EngineError, UsageError
from ...runtime.core.files import atomic_path, file_sha256, write_text
from ...runtime.core.manifest import Manifest
from ...runtime.engines.file.integrity import check_content
from ...runtime.images import decode, preprocess
from ...runtime.scoring import reasons
from ...runtime.scoring.record import Record, to_dict
from ...runtime.scoring.verdict import run_of
from ...runtime.serve.schema import EngineBody
from . import onnxruntime_web
from .operators import check_operators
from .page import GENERATOR, server_files, site_html, site_script

MAX_FILE_BYTES = 256 * 2**20
"""Larger image files are refused: the page holds a file and its pixels in memory."""

LIMITS = ("LOW_CONTRAST", "TINY_SHORT_SIDE", "MIN_SEEN")
SHELL = ("./", "index.html", "site.js", "site.css", "favicon.svg", "site.webmanifest", "manifest.json")
"""What the service worker keeps from the start; the engine and onnxruntime-web follow when they are loaded."""


def write_site(engine: Path, manifest: Manifest, folder: Path, ort: Path | None) -> None:
    """Write the site into `folder`; an older site there is replaced, its service worker last.

    Args:
        ort: a folder with the pinned onnxruntime-web, whose files are copied; None has pages load them from `ADDRESS`.

    Raises:
        EngineError: operators or types that onnxruntime-web lacks, weights in a second file, or a damaged engine.
        MissingDependencyError: `ort` holds another version.
        UsageError: `folder` holds a page that is not such a site.
    """
    index = folder / "index.html"
    if index.exists() and GENERATOR not in index.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{index}: is not a page of cinemae export; choose another folder for --web")
    if manifest.precision == "bf16":
        raise EngineError(f"{engine}: onnxruntime-web cannot run bfloat16; export it in another precision")
    if manifest.external_data:
        raise EngineError(f"{engine}: keeps its weights in a second file; a browser loads engines of one file (2 GB)")
    check_content(engine)
    check_operators(engine)
    source = None if ort is None else onnxruntime_web.find(ort)
    static, page = Path(str(files(__package__) / "static")), Path(str(files(serve) / "page"))
    server_page = (page / "index.html").read_text(encoding="utf-8")
    styles, scripts = ([_page_file(name) for name in names] for names in server_files(server_page))
    csp = content_security_policy(source is None)
    site = site_data(engine, manifest, "ort/" if source else onnxruntime_web.ADDRESS)
    html = site_html(server_page, csp)
    style = "\n".join(path.read_text(encoding="utf-8") for path in (*styles, static / "site.css"))
    made = hashlib.sha256("".join((site_script(site, static, scripts), html, style)).encode()).hexdigest()
    version = f"{site['engine']['sha256'][:12]}-{made[:8]}"
    worker = {"version": version, "shell": SHELL, "csp": csp}
    copies = {folder / engine.name: engine, folder / "favicon.svg": page / "favicon.svg"}
    if source is not None:
        copies |= {folder / "ort" / name: source / name for name in onnxruntime_web.FILES}
    for target, original in copies.items():
        with atomic_path(target) as temporary:
            shutil.copyfile(original, temporary)
    texts = {
        "manifest.json": manifest.to_json(indent=2), "site.webmanifest": json.dumps(web_manifest(manifest), indent=2),
        "site.css": style, "site.js": site_script({**site, "version": version}, static, scripts), "index.html": html,
        "service-worker.js": f"const SITE = {json.dumps(worker)};\n"
        + (static / "service_worker.js").read_text(encoding="utf-8"),
    }
    for name, text in texts.items():
        write_text(folder / name, text)


def _page_file(name: str) -> Path:
    """A file of the server's page; it shares some with the report."""
    folders = (Path(str(files(serve) / "page")), Path(str(files(report) / "templates")))
    return next(folder / name for folder in folders if (folder / name).is_file())


def content_security_policy(foreign: bool) -> str:
    """Nothing but the site's own files; with `foreign`, also those of onnxruntime-web from their address."""
    connect = f"'self' {onnxruntime_web.ADDRESS}" if foreign else "'self'"
    return (
        "default-src 'none'; script-src 'self' blob: 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self'; "
        f"img-src 'self' blob:; connect-src {connect}; manifest-src 'self'; base-uri 'none'; form-action 'none'"
    )


def site_data(engine: Path, manifest: Manifest, ort_base: str) -> dict[str, Any]:
    """What the script knows from Python: manifest, texts, limits and colours, each said once, in the runtime.

    `body` answers /v1/engine, `record` is a record before its image is read.
    """
    run = run_of(manifest)
    body = EngineBody.of(manifest, run, {"max_file_bytes": MAX_FILE_BYTES, "max_pixels": decode.MAX_PIXELS})
    return {
        "manifest": manifest.model_dump(mode="json"), "body": body.model_dump(mode="json"),
        "record": to_dict(Record(path="", status="error", run=run)), "texts": reasons.TEXTS, "ratioWords": LOG10_WORDS,
        "engine": {"url": quote(engine.name), "bytes": engine.stat().st_size, "sha256": file_sha256(engine)},
        "ort": {name: {"url": ort_base + name, **asdict(file)} for name, file in onnxruntime_web.FILES.items()},
        "limits": {
            **{name: getattr(reasons, name) for name in LIMITS},
            "maxAspect": preprocess.MAX_ASPECT, "scaledMargin": preprocess.SCALED_MARGIN,
            "maxPixels": decode.MAX_PIXELS, "maxFileBytes": MAX_FILE_BYTES,
            # From version 13 on Pillow resizes tall images vertically first; scores follow the Pillow of the export.
            "verticalFirst": int(pillow_version.split(".")[0]) >= 13,
        },
    }


def web_manifest(manifest: Manifest) -> dict[str, Any]:
    """What browsers need to install the site as an app."""
    return {
        "name": "CINEMAE", "short_name": "CINEMAE", "start_url": "./", "scope": "./",
        "description": f"How likely is it that an image was made by AI? Engine: {manifest.name}.",
        "display": "standalone", "background_color": "#17131f", "theme_color": "#17131f",
        "icons": [{"src": "favicon.svg", "sizes": "any", "type": "image/svg+xml", "purpose": "any"}],
    }
