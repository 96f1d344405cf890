"""A fresh interpreter scores without torch, without anything else of the training side, and without the network."""

import subprocess
import sys
from pathlib import Path

import pytest
from pictures import encoded, picture

CODE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "timm", "onnx", "onnxscript", "transformers", "safetensors", "scipy",
                                  "sklearn", "matplotlib", "typer", "rich"}:
            raise ImportError(f"the runtime imported {name}")

FORBIDDEN = ("socket.", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")

def audit(event, arguments):
    if event.startswith(FORBIDDEN):
        raise RuntimeError(f"the runtime did {event}{arguments}")

sys.meta_path.insert(0, Refuse())
sys.addaudithook(audit)
import cinemae.runtime
assert "numpy" not in sys.modules, "import cinemae.runtime must stay instant"
from cinemae.runtime import Detector, load_engine
with Detector.load(sys.argv[1], device="cpu") as detector:
    record = detector.detect(sys.argv[2])
    assert record.status == "ok", record
    assert [r.logit for r in detector.detect_many([sys.argv[2]])] == [record.logit]
load_engine(sys.argv[3]).close()
assert not [name for name in sys.modules if name.startswith(("torch", "cinemae.train", "cinemae.export"))]
import socket
try:
    socket.socket()
except RuntimeError:
    print(record.logit)
"""


def test_scoring_imports_no_torch_and_opens_no_socket(tiny_engine, tiny_parts, tmp_path):
    image = tmp_path / "a.png"
    image.write_bytes(encoded(picture()))
    command = [sys.executable, "-c", CODE, str(tiny_engine), str(image), str(tiny_parts)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    assert float(found.stdout)


def test_lazy_names_resolve_and_others_do_not():
    import cinemae.runtime as runtime

    for name in runtime.__all__:
        assert getattr(runtime, name).__name__ == name
        assert name in dir(runtime)
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = runtime.nothing_here


WITHOUT_TRAINING = """
import sys
for name in ("torch", "timm", "transformers"):
    sys.modules[name] = None  # importing it fails, and find_spec finds nothing
import pytest
sys.exit(pytest.main(["--collect-only", "-v", "-n", "0", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


@pytest.mark.slow
def test_tests_can_be_collected_without_torch():
    """`pytest -m gpu` and the runtime's tests on a machine that has no training side."""
    command = [sys.executable, "-c", WITHOUT_TRAINING, str(Path(__file__).parents[1])]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stdout[-3000:]
    assert "torch is not installed" in found.stdout
    assert "test_no_torch.py" in found.stdout
