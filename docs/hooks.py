"""mkdocs hooks: where the packages are, pages that live elsewhere in the tree, and one spelling of a link for all."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
ELSEWHERE = (
    "CHANGELOG.md", "CONTRIBUTING.md", "models/MODEL_CARD.md", "benchmarks/**/*.md", "benchmarks/pictures/*.png",
    "examples/*.*",
)
NAME = re.compile(r"`(cinemae\.(?:runtime|train|export)\.(?:\w+\.)*?)((?:[A-Z]\w*\.)?\w+)`")
DOCS = re.compile(r"\]\(((?:\.\./)*)docs/")
STAGED = tempfile.TemporaryDirectory(prefix="cinemae-docs-")
"""Removed when mkdocs ends."""


@event_priority(100)
def on_config(config: Any) -> Any:
    """Show mkdocstrings the folders of the tree under the names they are installed as: cinemae.runtime ..."""
    package = Path(STAGED.name) / "cinemae"
    if not package.exists():
        package.mkdir()
        for path in (ROOT / "runtime" / "cinemae").glob("*.py"):
            (package / path.name).symlink_to(path)
        for part in ("runtime", "train", "export"):
            (package / part).symlink_to(ROOT / part)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [STAGED.name]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the files of `ELSEWHERE` under their path in the repository."""
    for pattern in ELSEWHERE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links: in the repository the pages of docs/ lie one folder deeper than on the site, and other documents higher.

    A full name in backticks becomes a link to the Python API, shown without its modules.
    """
    if page.file.generated_by:
        return DOCS.sub(r"](\1", markdown)
    if "/" not in page.file.src_uri:
        markdown = markdown.replace("](../", "](")
    return NAME.sub(r"[`\2`][\1\2]", markdown)
