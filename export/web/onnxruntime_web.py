"""The pinned onnxruntime-web: which of its files a site needs, and how they are known to be the right ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...runtime.core.errors import MissingDependencyError
from ...runtime.core.files import file_sha256

VERSION = "1.30.0"
INSTALL = f"npm install onnxruntime-web@{VERSION}"
ORIGIN = "https://cdn.jsdelivr.net"
ADDRESS = f"{ORIGIN}/npm/onnxruntime-web@{VERSION}/dist/"
"""Where pages get the files that do not lie beside them; the hashes below are checked either way."""


@dataclass(frozen=True)
class OrtFile:
    """Size in bytes and SHA-256, hex."""

    bytes: int
    sha256: str


FILES = {
    name: OrtFile(size, sha256)
    for name, size, sha256 in (
        ("ort.wasm.min.mjs", 50_126,
         "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"),
        ("ort.webgpu.min.mjs", 66_349,
         "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0"),
        ("ort-wasm-simd-threaded.mjs", 24_381,
         "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"),
        ("ort-wasm-simd-threaded.wasm", 14_239_897,
         "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
        ("ort-wasm-simd-threaded.asyncify.mjs", 53_057,
         "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28"),
        ("ort-wasm-simd-threaded.asyncify.wasm", 26_781_914,
         "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da"),
    )
}
"""The scripts and their WebAssembly: for the CPU (SIMD, threads), and `asyncify` for WebGPU."""


def find(folder: Path) -> Path:
    """The folder with `FILES`: `folder`, or where npm puts them below it.

    Raises:
        MissingDependencyError: not there, or not of the pinned version.
    """
    for place in ("", "dist", "onnxruntime-web/dist", "node_modules/onnxruntime-web/dist"):
        found = folder / place
        if all((found / name).is_file() for name in FILES):
            wrong = [name for name, file in FILES.items() if file_sha256(found / name) != file.sha256]
            if wrong:
                raise MissingDependencyError(f"{found / wrong[0]}: is not of onnxruntime-web {VERSION}: {INSTALL}")
            return found
    raise MissingDependencyError(f"{folder}: holds no onnxruntime-web; get it with {INSTALL}")
