"""Send an image to a running `cinemae serve`, with nothing but the standard library.

    python examples/call_server.py [IMAGE]
"""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

SERVER = os.environ.get("CINEMAE_SERVER", "http://127.0.0.1:8000")
TOKEN = os.environ.get("CINEMAE_TOKEN")  # where the server asks for one (--token-file)
IMAGE = Path(sys.argv[1] if len(sys.argv) > 1 else "photo.jpg")

if not IMAGE.is_file():
    raise SystemExit(f"{IMAGE}: no such image; name one: python examples/call_server.py IMAGE")

request = urllib.request.Request(f"{SERVER}/v1/detect?name={quote(IMAGE.name)}", data=IMAGE.read_bytes())
request.add_header("Content-Type", "application/octet-stream")
if TOKEN:
    request.add_header("Authorization", f"Bearer {TOKEN}")
try:
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
except urllib.error.HTTPError as error:
    text = error.read().decode()
    reason = json.loads(text)["detail"] if error.headers.get_content_type() == "application/json" else text
    raise SystemExit(f"{IMAGE}: {reason} (HTTP {error.code})") from None
except urllib.error.URLError as error:
    raise SystemExit(f"no server answers at {SERVER} ({error.reason}); start one with: cinemae serve") from None

for record in answer["records"]:
    reasons = "; ".join(reason["text"] for reason in record["reasons"])
    ratio = record["likelihood_ratio"]
    print(record["path"], record["verdict"], ratio["text"] if ratio else f"P(AI) {record['probability']:.3f}", reasons)
