"""The server against its OpenAPI description: schemathesis sends valid and invalid requests; no response is a 5xx."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")
pytest.importorskip("schemathesis", reason="needs schemathesis")

from serve_tools import ArithmeticEngine, serving

pytestmark = pytest.mark.slow
EXAMPLES = 60


def test_every_answer_is_as_described_and_none_is_5xx(tiny_manifest, tmp_path):
    with serving(ArithmeticEngine(tiny_manifest)) as (base, _):
        # Whether bytes are an image cannot be said in OpenAPI: valid requests may be answered 415 or 422.
        result = subprocess.run(
            [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run",
             f"{base}/openapi.json", "--max-examples", str(EXAMPLES), "--seed", "1", "--generation-deterministic",
             "--exclude-checks", "positive_data_acceptance"],
            capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path,
        )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    assert "Tested: 5" in result.stdout
