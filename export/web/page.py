"""`index.html` of the site: the server's page with the parts exchanged that speak of a server."""

from __future__ import annotations

import re

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
FOLDER = """
    <input type="file" id="folder" class="unseen" multiple webkitdirectory>
    <label for="folder" class="choose second">Choose a folder</label>"""
SAVE_CSV = '\n    <button type="button" id="save-csv" class="quiet">Save as CSV</button>'
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
    (r'(<label for="files"[^>]*>[^<]*</label>)', rf"\1{FOLDER}"),
    (r'\n    <button type="button" id="sample".*?</button>', ""),
    (r'\n  <p id="api">.*?</p>', ""),
    (r"They go to this server, are scored in memory and are not stored\.", PROMISE),
    (r'(<button[^>]* id="save"[^>]*>[^<]*</button>)', rf"\1{SAVE_CSV}"),
    (r'<dialog id="ask".*?</dialog>\n+', ""),
    (r'(<p id="engine"></p>)', r'\1\n  <p id="device"></p>'),
)


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
