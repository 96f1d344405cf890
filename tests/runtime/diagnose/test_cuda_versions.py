"""Versions of CUDA that do not fit together are found without importing anything, and the pair to install is named."""

import pytest
from cinemae.runtime.diagnose import cuda_versions, doctor, hardware
from cinemae.runtime.diagnose.cuda_versions import cuda_packages, driver_cuda
from cinemae.runtime.diagnose.doctor import cuda_findings

CUDNN = {  # Requires-Dist of the wheels on PyPI, extra "cudnn"
    "1.26.0": 'nvidia-cudnn-cu12~=9.0; extra == "cudnn"', "1.31.1": 'nvidia-cudnn-cu13~=9.0; extra == "cudnn"',
}


def install(monkeypatch, **versions):
    there = {name.replace("_", "-"): version for name, version in versions.items()}
    monkeypatch.setattr(hardware, "installed", there.get)
    monkeypatch.setattr(cuda_versions, "requires", lambda name: ["numpy", CUDNN[there[name]]] if name in there else [])


@pytest.mark.parametrize(("driver", "cuda"), [
    ("580.65.06", 13), ("590.1", 13), ("570.86.15", 12), ("525.60", 12), ("540.4.0", 12), ("470.1", None), ("?", None),
])
def test_drivers(driver, cuda):
    assert driver_cuda(driver) == cuda


@pytest.mark.parametrize(("driver", "versions", "wrong"), [
    ("580.1", {"tensorrt_cu13": "10.16.1.11", "cuda_bindings": "13.5.0", "onnxruntime_gpu": "1.31.1"}, None),
    ("580.1", {"tensorrt_cu12": "10.16.1.11", "cuda_bindings": "12.9.10", "onnxruntime_gpu": "1.26.0"}, None),
    ("580.1", {}, None),
    ("570.1", {"tensorrt_cu12": "10.16.1.11", "cuda_bindings": "12.9.10"}, None),
    ("570.1", {"tensorrt_cu13": "11.4.0.106", "cuda_bindings": "13.5.0"}, "tensorrt-cu13 cuda-bindings"),
    ("570.1", {"tensorrt_cu12_libs": "10.3.0", "cuda_python": "13.1.0"}, "cuda-python"),
    ("580.1", {"tensorrt_cu13_libs": "10.16.1.11", "cuda_bindings": "13.5.0", "onnxruntime_gpu": "1.26.0"},
     "onnxruntime-gpu"),
])
def test_versions_are_compared_and_the_pair_is_named(monkeypatch, driver, versions, wrong):
    install(monkeypatch, **versions)
    (finding,) = cuda_findings(driver)
    if wrong is None:
        assert finding.level == "ok"
    else:
        pair = driver_cuda(driver)
        assert finding.level == "warning"
        assert finding.fix.startswith(f"pip uninstall -y {wrong}; ")
        assert f"tensorrt-cu{pair}" in finding.fix
    assert all(f"{package.version} (CUDA {package.cuda})" in finding.text for package in cuda_packages())


def test_an_old_driver_is_told(monkeypatch):
    install(monkeypatch)
    (finding,) = cuda_findings("470.1")
    assert (finding.level, finding.fix) == ("warning", "update the NVIDIA driver to 525 or later")
    assert doctor.exit_code([finding]) == 0
