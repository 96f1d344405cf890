"""The site's one script, joined from modules; the page's own modules are the server's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_IMPORT = re.compile(r'^import\s[^;"]*"\./([\w.-]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|let|function|class)\b)", re.MULTILINE)

SCRIPT = """\
// CINEMAE in the browser. Made by cinemae-export from the modules named below.
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


def joined(folder: Path, *entries: str) -> str:
    """The modules `entries` of `folder` and what they import, each once, imports before those who need them."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for needed in _IMPORT.findall((folder / name).read_text(encoding="utf-8")):
                visit(needed)
            order.append(name)

    for entry in entries:
        visit(entry)
    return "\n".join(f"// ---- {name}\n{_plain((folder / name).read_text(encoding='utf-8'))}" for name in order)


def _plain(module: str) -> str:
    return _EXPORT.sub("", _IMPORT.sub("", module))


def site_script(site: Mapping[str, Any], static: Path, page: Path) -> str:
    """`site.js`: the page, and its worker. `page` holds the server's page.js, which asks `fetch` as it would there."""
    return SCRIPT.format(
        site=json.dumps(site, ensure_ascii=False),
        modules=joined(static, "worker.js", "local_api.js", "start.js"),
        page=joined(page, "page.js") + "\n" + joined(static, "site_page.js"),
    )
