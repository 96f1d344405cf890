"""Engines from the Hugging Face Hub: `hf://org/repo/file.onnx@revision#sha256=HEX`, downloaded once, then offline.

The SHA-256 is pinned. An address may name it; otherwise the first use notes it, together with the commit that a branch
or tag stood for, and later uses take that commit and refuse other bytes. A branch that moves on thus changes no score.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from ..core.environment import require
from ..core.errors import EngineError, UsageError
from ..core.files import file_sha256, write_text
from ..core.text import first_line

SCHEME = "hf://"
PINS = "cinemae-pins"
"""Folder in the hub's cache with one JSON file {"commit", "sha256"} for each address."""
_ADDRESS = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[^@#]+)(?:@(?P<revision>[^@#]+))?(?:#sha256=(?P<sha256>[0-9a-f]{64}))?"
)


class HubAddress(NamedTuple):
    """The parts of an address.

    Attributes:
        repo: "org/repo".
        file: path of the `.onnx` file inside the repository.
        revision: branch, tag or commit.
        sha256: of the file, hex; None where the address does not pin it.
    """

    repo: str
    file: str
    revision: str = "main"
    sha256: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubAddress:
        """The parts of `text`.

        Raises:
            UsageError: not such an address, or not an `.onnx` file.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None or ".." in match["file"].split("/"):
            raise UsageError(f"{text}: an address on the hub is hf://org/repo/file.onnx@revision#sha256=HEX")
        if not match["file"].lower().endswith(".onnx"):
            raise UsageError(f"{text}: only .onnx engines come from the hub, since a plan can run code; export it here")
        return cls(match["repo"], match["file"], match["revision"] or "main", match["sha256"])


def hub_engine(text: str) -> Path:
    """The local file of an engine on the hub; downloaded where the hub's cache lacks it.

    Args:
        text: the address.

    Raises:
        UsageError: not an address of an `.onnx` file.
        MissingDependencyError: huggingface_hub is not installed.
        EngineError: the file cannot be fetched, or its bytes are not those that are pinned.
    """
    address = HubAddress.parse(text)
    require(text, "hub", "huggingface_hub")
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    key = quote(f"{address.repo}/{address.file}@{address.revision}", safe="@")
    store = Path(constants.HF_HUB_CACHE) / PINS / f"{key}.json"
    commit, pinned = _pin(store)
    if address.sha256 not in (None, pinned):
        commit, pinned = None, address.sha256  # the address names other bytes: its revision is looked up again
    # looked up first: hf_hub_download sends requests even for a cached commit (2.4.0: /api/agent-harnesses)
    cached = try_to_load_from_cache(address.repo, address.file, revision=commit) if commit else None
    try:
        if not isinstance(cached, str):
            cached = hf_hub_download(address.repo, address.file, revision=commit or address.revision)
    except Exception as error:  # its own classes and, by version, those of requests, httpx or httpx2
        raise EngineError(
            f"{text}: cannot be fetched ({first_line(error)}); check the address, the network and, for a private "
            "repository, `hf auth login`"
        ) from None
    path = Path(cached)
    found = file_sha256(path)
    if pinned not in (None, found):
        raise EngineError(
            f"{text}: its SHA-256 is {found}, pinned is {pinned}"
            + ("" if address.sha256 else f" ({store})")
            + f"; remove {path} to download it again, or pin the file that you trust"
        )
    if commit is None:
        commit = path.relative_to(constants.HF_HUB_CACHE).parts[2]  # models--org--repo/snapshots/COMMIT/file
        write_text(store, json.dumps({"commit": commit, "sha256": found}) + "\n")
    return path


def _pin(store: Path) -> tuple[str | None, str | None]:
    """Commit (40 hex digits) and SHA-256 (hex) that an address stood for at its first use, if it was used."""
    try:
        pin = json.loads(store.read_text(encoding="utf-8"))
        return str(pin["commit"]), str(pin["sha256"])
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EngineError(f"{store}: cannot be read ({error}); remove it to pin the engine anew") from None
