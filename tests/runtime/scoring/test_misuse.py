"""Calls that cannot work say how to do it."""

import pytest
from cinemae.runtime import Detector
from cinemae.runtime.core.errors import EngineError, UsageError


def test_a_detector_without_an_engine():
    with pytest.raises(UsageError, match=r"Detector\.load\(\)"):
        Detector()


def test_what_is_no_image(tiny_engine):
    with Detector.load(tiny_engine) as detector:
        errors = [detector.detect(source).error for source in (3, None, [1])]
    assert [error.split(":")[0] for error in errors] == ["int is no image", "NoneType is no image", "list is no image"]
    assert "give a path, bytes" in errors[0]


def test_a_folder_that_is_no_engine(tmp_path):
    with pytest.raises(EngineError, match=r"is a folder, .* encoder\.onnx is missing; there is no engine in it"):
        Detector.load(tmp_path)
    (tmp_path / "mine.onnx").write_bytes(b"")
    with pytest.raises(EngineError, match=r"name one of the engines in it: mine\.onnx"):
        Detector.load(tmp_path)
