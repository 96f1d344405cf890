"""`index.html` and `site.js`: the server's page without what speaks of a server, and all scripts joined into one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...runtime.core.errors import CinemaeError

GENERATOR = '<meta name="generator" content="cinemae export --web">'

POLICY = r'\1\n<meta http-equiv="Content-Security-Policy" content="{csp}">'
HEAD = f"""{GENERATOR}
<meta name="theme-color" content="#17131f">
<link rel="manifest" href="site.webmanifest">
<link rel="stylesheet" href="site.css">
<script defer src="site.js"></script>"""

LOADING = """
  <section id="loading" class="loading" aria-label="The detector">
    <progress id="loading-bar" max="1" value="0" aria-labelledby="loading-text"></progress>
    <p id="loading-text">Loading the detector</p>
  </section>
"""
NOSCRIPT = '<noscript><p class="banner">This page needs JavaScript: it scores images on your own device.</p></noscript>'
PROMISE = "They are scored on this device and go nowhere."

STYLES = r'<link rel="stylesheet" href="([\w.-]+)">\n'
SCRIPTS = r'<script(?: type="module")? src="([\w.-]+)"></script>\n'

_CHANGES = (
    (r'(<meta charset="utf-8">)', POLICY),
    (r"(</head>)", rf"{HEAD}\n\1"),
    (r"<noscript>.*?</noscript>", NOSCRIPT),
    (r"(<main[^>]*>\n)", rf"\1{LOADING}"),
    (r'(<section id="drop" class="drop")', r"\1 inert"),
    (r'\n    <button type="button" id="sample".*?</button>', ""),
    (r'\n  <p id="api">.*?</p>', ""),
    (r"They go to this server, are scored in memory and are not stored\.", PROMISE),
    (r'<dialog id="ask".*?</dialog>\n+', ""),
    (r'(<p id="engine"></p>)', r'\1\n  <p id="device"></p>'),
)


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


def server_files(server_page: str) -> tuple[list[str], list[str]]:
    """Names of the style sheets and of the scripts that the server's page loads, in its order."""
    return re.findall(STYLES, server_page), re.findall(SCRIPTS, server_page)


def site_html(server_page: str, csp: str) -> str:
    """The server's index.html made into the site's.

    Raises:
        CinemaeError: the server's page has changed, and a part is not there once.
    """
    server_page = re.sub(SCRIPTS, "", re.sub(STYLES, "", server_page))
    for pattern, replacement in _CHANGES:
        server_page, count = re.subn(pattern, replacement.replace("{csp}", csp), server_page, flags=re.DOTALL)
        if count != 1:
            raise CinemaeError(f"the server's page holds {pattern!r} {count} times, once is needed")
    return server_page


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
        page=joined(*page),
    )
