"""`--precision`: what a device has, what is refused with the fix, and that caches never mix."""

import os
import sys

import pytest
import torch
from cinemae.runtime.core import environment
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
        monkeypatch.setattr(environment, "cpu_features", lambda: list(names))

    return pretend


def test_processors_compute_in_float32(features):
    features("avx2", "amx_bf16")
    assert choose_precision("auto", CPU) == choose_precision("fp32", CPU) == "fp32"
    assert choose_precision("bf16", CPU) == "bf16"
    features()
    assert choose_precision("bf16", CPU) == "bf16", "the system does not tell"
    features("avx2", "avx512f")
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


STAT = """cpu  {user} 0 100 {idle} {wait} 0 0 0 0 0
cpu0 1 0 0 1 0 0 0 0 0 0
cpu1 1 0 0 1 0 0 0 0 0 0
intr 12 0
"""
"""/proc/stat as proc(5) describes it: user nice system idle iowait irq softirq steal guest guest_nice."""


def test_idle_processors_are_measured(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    stat.write_text(STAT.format(user=1000, idle=5000, wait=0))
    monkeypatch.setattr(module.time, "sleep", lambda _: stat.write_text(STAT.format(user=1030, idle=5007, wait=3)))
    assert module.idle_processors(path=str(stat)) == 2 * 10 / 40
    assert module.idle_processors(path=str(tmp_path / "none")) is None
    (tmp_path / "other").write_text("cpu\n")
    assert module.idle_processors(path=str(tmp_path / "other")) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/stat")
def test_the_real_file_is_understood():
    assert 0 <= module.idle_processors(0.05) <= os.cpu_count()


@pytest.mark.parametrize(("idle", "asked", "chosen"), [
    (0.1, 0, 1), (2.6, 0, 3), (8.0, 0, 4), (None, 0, 4), (0.1, 3, 3),
])
def test_threads_are_as_many_as_processors_are_idle(idle, asked, chosen, monkeypatch, caplog):
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    monkeypatch.setattr(module, "idle_processors", lambda: idle)
    try:
        module.prepare_process(asked)
        assert torch.get_num_threads() == chosen
        assert ("other processors are busy" in caplog.text) == (chosen < 4 and not asked)
    finally:
        torch.set_num_threads(before)
