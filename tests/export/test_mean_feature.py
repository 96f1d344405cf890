"""f_global as the mean of the patch tokens: the fused engine and the parts share no code and must agree."""

import numpy as np
import torch
from cinemae.export.fused import export_fused
from cinemae.export.parts import export_parts
from cinemae.runtime.engines.load import load_engine
from cinemae.train.model.detector import CinemaeDetector

FUSED_AGAINST_PARTS = 1e-3  # the tolerance of the parity table


def test_parts_and_fused_agree_on_the_mean_of_the_patch_tokens(tiny_detector, tiny_manifest, tmp_path, random_images):
    method = tiny_detector.method.model_copy(update={"f_global": "mean"})
    detector = CinemaeDetector(tiny_detector.mae, tiny_detector.head, tiny_detector.visible.numpy(), method)
    manifest = tiny_manifest.model_copy(update={"method": method})
    export_fused(detector, manifest, tmp_path / "mean.onnx")
    fused = load_engine(tmp_path / "mean.onnx").infer(random_images)
    parts = load_engine(export_parts(detector, manifest, tmp_path / "parts")).infer(random_images)
    np.testing.assert_allclose(fused.logit, parts.logit, atol=FUSED_AGAINST_PARTS)
    of_cls = tiny_detector(torch.from_numpy(random_images)).logit.detach()
    assert not np.allclose(fused.logit, of_cls, atol=1e-3)
