"""Installation hints say what works: from the source tree until a package index has the package."""

import math
import platform
import re
import sys
from pathlib import Path

import pytest
from cinemae.runtime.core import environment
from cinemae.runtime.core.environment import install_tensorrt, pip_install, pip_packages
from cinemae.runtime.core.errors import MissingDependencyError
from cinemae.runtime.engines.onnx.library import import_onnxruntime
from cinemae.runtime.engines.onnx.session import choose_providers

ROOT = Path(__file__).parents[3]


def test_a_release_switches_all_hints(monkeypatch):
    assert pip_install("cpu") == "pip install '.[cpu]' in the source tree of cinemae"
    monkeypatch.setattr(environment, "ON_INDEX", True)
    assert pip_install("serve,ray", "ray[serve]") == "pip install 'cinemae[serve,ray]' 'ray[serve]'"


def test_packages_of_others_and_the_pairs():
    assert pip_packages("onnx") == "pip install onnx"
    assert pip_packages("a[b]", "c", reinstall=True) == "pip install --force-reinstall 'a[b]' c"
    assert "'.[tensorrt-cu13]'" in install_tensorrt(13)
    assert "tensorrt-cu12" in install_tensorrt()


def test_a_jetson_is_told_of_jetpack_and_not_of_wheels_that_are_not_for_it(monkeypatch):
    monkeypatch.setattr(platform, "release", lambda: "6.8.12-tegra")
    for cuda, package in ((12, "cuda-python==12.6.*"), (13, "cuda-python==13.2.*")):
        assert f"JetPack's own TensorRT and pip install '{package}'" in install_tensorrt(cuda)
    assert "tensorrt-cu" not in install_tensorrt()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for refused in (lambda: choose_providers("cuda", ["CPUExecutionProvider"]), import_onnxruntime):
        with pytest.raises(MissingDependencyError, match="that is made for this JetPack") as caught:
            refused()
        assert "gpu]" not in str(caught.value)
        assert "'gpu'" not in str(caught.value)


def test_every_hint_comes_from_one_place_and_names_extras_that_exist():
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("needs the source tree")
    table = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("optional-dependencies]")[2]
    extras = set(re.findall(r"^([\w-]+) = \[", table, re.MULTILINE))
    named = set()
    for part in ("runtime", "train", "export"):
        for path in (ROOT / part).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert "pip install 'cinemae[" not in text, path
            for names in re.findall(r"pip_install\([\"']([\w,-]+)", text):
                named |= set(names.split(","))
    for cuda in (12, 13):
        assert f"tensorrt-cu{cuda}" in install_tensorrt(cuda)
    assert {"tensorrt-cu12", "tensorrt-cu13"} <= extras
    assert {"cpu", "gpu", "serve", "ray", "train", "export"} <= named <= extras


VERSION_2 = {"proc/self/cgroup": "0::/kubepods/pod1/c1\n"}
VERSION_1 = {"proc/self/cgroup": "5:cpuset:/d/1\n4:cpu,cpuacct:/d/1\n1:name=systemd:/d/1\n0::/d/1\n"}


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, math.inf),  # not Linux
        (VERSION_2 | {"sys/fs/cgroup/cpu.max": "max 100000\n"}, math.inf),
        (VERSION_2 | {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),  # seen from inside a container
        (VERSION_2 | {"sys/fs/cgroup/kubepods/pod1/c1/cpu.max": "max 100000\n",
                      "sys/fs/cgroup/kubepods/pod1/cpu.max": "50000 100000\n",
                      "sys/fs/cgroup/kubepods/cpu.max": "800000 100000\n"}, 0.5),
        ({"proc/self/cgroup": "0::/../c2\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),
        (VERSION_2 | {"sys/fs/cgroup/cpu.max": "what\n"}, math.inf),
        (VERSION_1 | {"sys/fs/cgroup/cpu,cpuacct/d/1/cpu.cfs_quota_us": "-1\n",
                      "sys/fs/cgroup/cpu,cpuacct/d/1/cpu.cfs_period_us": "100000\n"}, math.inf),
        (VERSION_1 | {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
                      "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "50000\n"}, 4),
    ],
)
def test_the_quota_of_control_groups(files, quota, tmp_path):
    """Files as in admin-guide/cgroup-v2.rst ("cpu.max") and scheduler/sched-bwc.rst of the kernel's documentation."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert environment.cpu_quota(tmp_path) == quota


@pytest.mark.parametrize(("quota", "cpus", "threads"), [(math.inf, 8, None), (8, 8, None), (1.5, 2, 2), (0.1, 1, 1)])
def test_a_quota_limits_cpus_threads_and_is_shown(quota, cpus, threads, monkeypatch, tiny_engine):
    from cinemae.runtime.diagnose.doctor import system_findings
    from cinemae.runtime.engines.load import load_engine
    from cinemae.runtime.engines.onnx import engine as onnx_engine

    monkeypatch.setattr(environment, "_allowed_cpus", lambda: 8)
    monkeypatch.setattr(environment, "cpu_quota", lambda: quota)
    assert environment.usable_cpus() == cpus
    cpu = next(finding.text for finding in system_findings() if finding.topic == "cpu")
    assert f"{cpus} usable cores" in cpu
    assert ("control group" in cpu) == (threads is not None)
    asked, create = [], onnx_engine.create_session

    def watched(path, device, threads, **more):
        asked.append(threads)
        return create(path, device, threads, **more)

    monkeypatch.setattr(onnx_engine, "create_session", watched)
    load_engine(tiny_engine, "cpu").close()
    load_engine(tiny_engine, "cpu", 3).close()
    assert asked == [threads, 3]
