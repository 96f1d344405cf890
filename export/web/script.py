"""The site's one script, joined from modules; the page's own modules are the server's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_IMPORT = re.compile(r'^import\s[^;"]*"\./([\w.-]+)";\n', re.MULTILINE)
_STRICT = re.compile(r'\A"use strict";\n')
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|let|function|class)\b)", re.MULTILINE)

SCRIPT = """\
// CINEMAE in the browser. Made by cinemae export from the modules named below.
(() => {{
"use strict";
const SITE = {site};

{modules}
if (typeof document === "undefined") return serveDetector(SITE);
if (!servedProperly()) return;
keepOffline();
(async (fetch) => {{
{page}
}})(localApi(SITE, show));
}})();
"""


def joined(*entries: Path) -> str:
    """The scripts `entries` and what they import from their folders, each once, imports before those who need them."""
    order: list[Path] = []

    def visit(path: Path) -> None:
        if path not in order:
            for needed in _IMPORT.findall(path.read_text(encoding="utf-8")):
                visit(path.with_name(needed))
            order.append(path)

    for entry in entries:
        visit(entry)
    return "\n".join(f"// ---- {path.name}\n{_plain(path.read_text(encoding='utf-8'))}" for path in order)


def _plain(module: str) -> str:
    return _EXPORT.sub("", _IMPORT.sub("", _STRICT.sub("", module)))


def site_script(site: Mapping[str, Any], static: Path, page: Sequence[Path]) -> str:
    """`site.js`: the page, and its worker. `page`: the server's scripts, which ask `fetch` as they would there."""
    return SCRIPT.format(
        site=json.dumps(site, ensure_ascii=False),
        modules=joined(*(static / name for name in ("worker.js", "local_api.js", "start.js"))),
        page=joined(*page, static / "site_page.js"),
    )
