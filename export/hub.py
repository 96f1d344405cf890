"""`cinemae-export --push hf://org/repo`: engine, card and figures into a repository of the Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ..runtime.core.environment import require
from ..runtime.core.errors import CinemaeError, EngineError, UsageError
from ..runtime.core.files import file_sha256
from ..runtime.core.manifest import Manifest
from ..runtime.core.text import first_line
from ..runtime.engines.hub import SCHEME
from ..runtime.scoring.reading import words
from ..runtime.scoring.verdict import run_of
from ..train.fitting.checkpoint_folder import EVAL_FOLDER

HUB_LICENCES = {"Apache-2.0": "apache-2.0", "MIT": "mit", "CC-BY-NC-4.0": "cc-by-nc-4.0", "CC-BY-4.0": "cc-by-4.0"}
"""Licences that the hub has an identifier for; others are `other` with their name."""
METRICS = ("auc", "auc_all_real", "ap", "coverage", "accuracy", "real_accuracy", "fake_accuracy", "images")


def repository(address: str) -> str:
    """"org/repo" of `hf://org/repo`.

    Raises:
        UsageError: not such an address.
    """
    if not re.fullmatch(rf"{SCHEME}[\w.-]+/[\w.-]+", address):
        raise UsageError(f"--push {address!r}: must be hf://org/repo")
    return address.removeprefix(SCHEME)


def figures_of(engine: Path, checkpoint: Path | None) -> list[Path]:
    """Files of figures that belong to an engine: its report, and what `cinemae-train eval` wrote for its checkpoint."""
    reports = (engine.with_name(engine.stem + suffix) for suffix in (".report.md", ".report.json"))
    found = [path for path in reports if path.is_file()]
    if checkpoint is not None:
        found += sorted(p for p in (checkpoint / EVAL_FOLDER).glob("*") if p.suffix == ".png" or p.stem == "eval")
    return found


def push(address: str, engine: Path, manifest: Manifest, figures: Sequence[Path], say: Callable[[str], None]) -> str:
    """Upload in one commit; the repository is made where it does not exist.

    Args:
        address: `hf://org/repo`.
        engine: the fused `.onnx` file.
        manifest: of the engine.
        figures: further files, which go to `figures/`.
        say: prints progress.

    Returns:
        The engine's address with commit and SHA-256, as `--engine` takes it.

    Raises:
        UsageError: not such an address.
        MissingDependencyError: huggingface_hub is not installed.
        CinemaeError: the hub refuses, or cannot be reached.
    """
    repo = repository(address)
    if manifest.external_data:
        raise EngineError(f"{engine}: keeps its weights in a second file; --push uploads engines of one file (2 GB)")
    require("--push", "hub", "huggingface_hub")
    from huggingface_hub import CommitOperationAdd, HfApi

    pinned = f"{address}/{engine.name}@main#sha256={file_sha256(engine)}"
    files: dict[str, Path | bytes] = {engine.name: engine, "README.md": card(manifest, pinned).encode()}
    files |= {f"figures/{path.name}": path for path in figures}
    say(f"pushing {', '.join(files)} to {address}")
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    try:
        api = HfApi()
        api.create_repo(repo, exist_ok=True)
        commit = api.create_commit(repo, operations, commit_message=f"{manifest.name}: {manifest.precision} engine")
    except Exception as error:  # its own classes and, by version, those of requests, httpx or httpx2
        raise CinemaeError(
            f"{address}: cannot be pushed to ({first_line(error)}); check the name, the network and `hf auth login`"
        ) from None
    return pinned.replace("@main#", f"@{commit.oid}#")


def card(manifest: Manifest, pinned: str) -> str:
    """The model card: README.md with the hub's metadata, what verdicts promise, and the manifest's figures."""
    licence = HUB_LICENCES.get(manifest.licence)
    head = ["---", "library_name: cinemae", "pipeline_tag: image-classification"]
    head += ["tags: [ai-generated-image-detection]"]
    head += [f"license: {licence}"] if licence else ["license: other", f"license_name: {_cell(manifest.licence)!r}"]
    said = words(run_of(manifest))
    training, backbone, beside = manifest.training, manifest.backbone, manifest.backbone.global_encoder
    rows = {
        "precision": manifest.precision,
        "backbone": f"{backbone.source}, {backbone.licence}, SHA-256 {backbone.sha256}",
        **({"global encoder": f"{beside.source}, {beside.licence}, SHA-256 {beside.sha256}"} if beside else {}),
        "input": f"{manifest.preprocess.crop} px crop of a short side of {manifest.preprocess.resize_short} px",
        "method": f"K = {manifest.method.k}",
        "training": f"{training.data}: {training.n_ai:,} AI and {training.n_real:,} real images. {training.note}",
        "licence": manifest.licence,
        **{f"verdict {verdict}": said[verdict] for verdict in ("ai", "real", "uncertain")},
    }
    lines = [*head, "---", f"# {_cell(manifest.name)}", ""]
    if manifest.demonstration:
        lines += ["**A demonstration engine: its verdicts are no evidence.**", ""]
    lines += ["An engine of CINEMAE, which detects AI-generated images by contextual anomaly.", "", "```bash"]
    lines += [f"cinemae-run photos/ --engine '{pinned}'", "```", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {_cell(text)} |" for name, text in rows.items()]
    if manifest.metrics:
        lines += ["", "## Figures", "", f"| data | {' | '.join(METRICS)} |", "| --- |" + " ---: |" * len(METRICS)]
        for name, values in manifest.metrics.items():
            cells = (f"{values[metric]:.4g}" if metric in values else "" for metric in METRICS)
            lines.append(f"| {_cell(name)} | {' | '.join(cells)} |")
    caveat = "A score is evidence, not proof. A high anomaly does not mean that an image is AI-generated."
    return "\n".join([*lines, "", f"{said['caveat']} {caveat}".strip(), ""])


def _cell(text: str) -> str:
    """Text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
