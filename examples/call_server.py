"""Send an image to a running `cinemae-serve`, with nothing but the standard library."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

SERVER = os.environ.get("CINEMAE_SERVER", "http://127.0.0.1:8000")
TOKEN = os.environ.get("CINEMAE_TOKEN")  # where the server asks for one (--token-file)
IMAGE = Path("photo.jpg")

request = urllib.request.Request(f"{SERVER}/v1/detect?name={IMAGE.name}", data=IMAGE.read_bytes())
request.add_header("Content-Type", "application/octet-stream")
if TOKEN:
    request.add_header("Authorization", f"Bearer {TOKEN}")
try:
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
except urllib.error.HTTPError as error:
    raise SystemExit(f"{error.code}: {error.read().decode()}") from None

for record in answer["records"]:
    print(record["path"], record["verdict"], f"{record['probability']:.3f}", "; ".join(record["reasons"]))
