"""`--precision`: what a device has, what is refused with the fix, and that caches never mix."""

import pytest
import torch
from cinemae.runtime.core.errors import UsageError
from cinemae.train import compute as module
from cinemae.train.compute import PRECISIONS, choose_precision, computing, named_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def capability(monkeypatch):
    """Pretend a GPU's compute capability: `torch.cuda.get_device_capability` returns (major, minor)."""

    def pretend(major, minor):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (major, minor))

    return pretend


@pytest.fixture
def features(monkeypatch):
    def pretend(*names):
        monkeypatch.setattr(module, "cpu_features", lambda: list(names))

    return pretend


def test_processors_compute_in_float32(features):
    features("avx2", "amx_bf16")
    assert choose_precision("auto", CPU) == choose_precision("fp32", CPU) == "fp32"
    assert choose_precision("bf16", CPU) == "bf16"
    features("avx2")
    for name in ("tf32", "fp16", "bf16"):
        with pytest.raises(UsageError, match=r"--precision fp32"):
            choose_precision(name, CPU)


def test_gpus_compute_in_tf32_where_they_have_it(capability):
    capability(8, 0)
    assert choose_precision("auto", CUDA) == "tf32"
    assert [choose_precision(name, CUDA) for name in PRECISIONS] == list(PRECISIONS)
    capability(7, 5)
    assert choose_precision("auto", CUDA) == "fp32"
    assert choose_precision("fp16", CUDA) == "fp16"
    for name in ("tf32", "bf16"):
        with pytest.raises(UsageError, match=r"--precision fp16"):
            choose_precision(name, CUDA)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UsageError, match="auto, fp32, tf32, bf16, fp16"):
        choose_precision("fp8", CPU)
    assert named_precision("auto", auto="fp32") == "fp32"
    assert named_precision("bf16", auto="fp32") == "bf16"


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_switches_are_set_inside_the_block_alone():
    before = torch.get_float32_matmul_precision()
    for name, expected in (("tf32", "high"), ("fp32", "highest"), ("fp16", "highest")):
        with computing(name, CUDA):
            assert torch.get_float32_matmul_precision() == expected
            assert torch.backends.cudnn.allow_tf32 == (name == "tf32")
        assert torch.get_float32_matmul_precision() == before
