"""A Hugging Face Hub on this machine: the requests that huggingface_hub 2.4.0 sends, answered in memory.

What the library asks and expects, by file and line of that version:
- file_download.py 1618 `get_hf_file_metadata`: HEAD /ORG/REPO/resolve/REVISION/FILE; `X-Repo-Commit`; for a large file
  a redirect to another host with `X-Linked-Etag` (its SHA-256), `X-Linked-Size` and the `Location` to GET it from.
- hf_api.py 4663 `create_repo`: POST /api/repos/create. hf_api.py 11703 `_validate_yaml`: POST /api/validate-yaml.
- _commit_api.py 764: POST /api/models/ORG/REPO/preupload/REVISION gives each file's `uploadMode`.
- lfs.py 185: POST /ORG/REPO.git/info/lfs/objects/batch gives the address to PUT a large file to (git-lfs batch API).
- hf_api.py `dataset_info`: GET /api/datasets/ORG/NAME/revision/REVISION, with `sha` and the files as `siblings`.
- hf_file_system.py `ls`: GET /api/datasets/ORG/NAME/tree/REVISION/FOLDER; a file is read by GET of
  /datasets/ORG/NAME/resolve/REVISION/FILE with `Range`.
- _commit_api.py 1056: POST /api/models/ORG/REPO/commit/REVISION, one JSON object a line: header, file, lfsFile.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class Hub:
    """Repositories in memory.

    Attributes:
        address: for HF_ENDPOINT.
        commits: repository -> commits from the first to the last, each (id, {path: bytes}).
        requests: "METHOD path" of every request.
        ranges: first byte and end of every range that was asked for.
    """

    def __init__(self) -> None:
        self.address = ""
        self.commits: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.ranges: list[tuple[int, int]] = []

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        """Add files on the branch main; returns the commit's id."""
        history = self.commits.setdefault(repo, [])
        tree = {**(history[-1][1] if history else {}), **files}
        oid = hashlib.sha1(repr((len(history), sorted(tree.items()))).encode()).hexdigest()
        history.append((oid, tree))
        self.blobs |= {hashlib.sha256(data).hexdigest(): data for data in files.values()}
        return oid

    def find(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit that a branch or an id stands for."""
        history = self.commits.get(repo, [])
        return next((item for item in reversed(history) if revision in ("main", item[0])), None)

    def environment(self, cache: Path) -> dict[str, str]:
        """Variables of a process that asks this hub and keeps downloads in `cache`."""
        return {
            **os.environ, "HF_ENDPOINT": self.address, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1,localhost",
        }


@contextlib.contextmanager
def fake_hub() -> Iterator[Hub]:
    """A running hub."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def answer_range(self, data: bytes) -> None:
            """The bytes, or those that the request names."""
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)?", self.headers.get("Range") or "")
            if wanted is None:
                self.answer(200, data)
                return
            start, end = int(wanted[1]), min(int(wanted[2] or len(data)) + 1, len(data))
            hub.ranges.append((start, end))
            self.answer(206, data[start:end], Content_Range=f"bytes {start}-{end - 1}/{len(data)}")

        def answer_json(self, value: object) -> None:
            self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

        def body(self) -> bytes:
            hub.requests.append(f"{self.command} {self.path}")
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def do_GET(self) -> None:
            self.body()
            if blob := re.fullmatch(r"/cdn/(\w+)", self.path):
                self.answer_range(hub.blobs[blob[1]])
                return
            if (info := re.fullmatch(r"/api/(datasets/.+?)(?:/revision/([^/?]+))?(?:\?.*)?", self.path)) and (
                commit := hub.find(info[1], info[2] or "main")
            ):
                files = [{"rfilename": name} for name in commit[1]]
                self.answer_json({"id": info[1].partition("/")[2], "sha": commit[0], "siblings": files})
                return
            if tree := re.fullmatch(r"/api/(datasets/[^/]+/[^/]+)/tree/([^/?]+)/?([^?]*)(?:\?.*)?", self.path):
                commit = hub.find(tree[1], tree[2])
                inside = {name: file for name, file in (commit[1] if commit else {}).items()
                          if name.rpartition("/")[0] == unquote(tree[3])}
                self.answer_json([
                    {"type": "file", "path": name, "size": len(file), "oid": hashlib.sha1(file).hexdigest(),
                     "lfs": {"oid": hashlib.sha256(file).hexdigest(), "size": len(file), "pointerSize": 134}}
                    for name, file in inside.items()
                ])
                return
            asked = re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
            found = asked and hub.find(asked[1], asked[2])
            if not asked or not found:
                known = asked and asked[1] in hub.commits
                self.answer(404, X_Error_Code="RevisionNotFound" if known else "RepoNotFound")
            elif asked[3] not in found[1]:
                self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=found[0])
            else:
                digest, size = hashlib.sha256(found[1][asked[3]]).hexdigest(), len(found[1][asked[3]])
                self.answer(302, Location=f"{cdn}/cdn/{digest}", X_Repo_Commit=found[0],
                            X_Linked_Etag=f'"{digest}"', X_Linked_Size=str(size))

        do_HEAD = do_GET

        def do_PUT(self) -> None:
            data = self.body()
            assert hashlib.sha256(data).hexdigest() == self.path.rpartition("/")[2]
            hub.blobs[hashlib.sha256(data).hexdigest()] = data
            self.answer(200)

        def do_POST(self) -> None:
            data = self.body()
            if self.path == "/api/repos/create":
                asked = json.loads(data)
                repo = f"{asked['organization']}/{asked['name']}"
                hub.commits.setdefault(repo, [])
                self.answer_json({"url": f"{hub.address}/{repo}", "id": repo})
            elif self.path == "/api/validate-yaml":
                self.answer_json({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                files = [file["path"] for file in json.loads(data)["files"]]
                modes = {name: "lfs" if name.endswith((".onnx", ".png")) else "regular" for name in files}
                self.answer_json({"files": [{"path": name, "uploadMode": mode, "shouldIgnore": False}
                                            for name, mode in modes.items()]})
            elif self.path.endswith("/objects/batch"):
                objects = [
                    {**item, "actions": {"upload": {"href": f"{hub.address}/lfs/{item['oid']}"}}}
                    for item in json.loads(data)["objects"]
                ]
                self.answer_json({"transfer": "basic", "objects": objects})
            elif asked := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
                files = {}
                for item in map(json.loads, data.splitlines()):
                    value = item["value"]
                    if item["key"] == "file":
                        files[value["path"]] = base64.b64decode(value["content"])
                    elif item["key"] == "lfsFile":
                        files[value["path"]] = hub.blobs[value["oid"]]
                oid = hub.commit(asked[1], files)
                self.answer_json({"commitUrl": f"{hub.address}/{asked[1]}/commit/{oid}", "commitOid": oid})
            else:
                self.answer(404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    cdn = f"http://localhost:{server.server_address[1]}"
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
