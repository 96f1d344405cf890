"""ViT-L for the benchmarks: seeded weights, operations of an image, its graphs, a session as the runtime opens it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cinemae.runtime.core.manifest import BackboneConfig, Manifest
    from cinemae.train.model.detector import CinemaeDetector

THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "2"))


def detector(backbone: str) -> tuple[CinemaeDetector, Manifest]:
    """A detector with seeded weights, and its manifest."""
    import torch
    from cinemae.runtime.core.manifest import Backbone, HeadConfig, Manifest, Masks, MethodConfig
    from cinemae.runtime.core.masks import draw_visible
    from cinemae.train.model.detector import CinemaeDetector
    from cinemae.train.model.head import Head
    from cinemae.train.model.mae import MaskedAutoencoder
    from cinemae.train.model.presets import preset

    torch.manual_seed(0)
    config, method = preset(backbone), MethodConfig()
    visible = draw_visible(config.n_patches, method.k, method.mask_strategy, method.mask_seed)
    found = CinemaeDetector(MaskedAutoencoder(config), Head(config.encoder_dim, HeadConfig()), visible, method).eval()
    manifest = Manifest(
        name=backbone, kind="checkpoint", method=method, head=found.head.config,
        backbone=Backbone(config=config, source="seeded random values", sha256="0" * 64, licence="Apache-2.0"),
        masks=Masks(visible=tuple(tuple(int(i) for i in row) for row in visible)),
    )
    return found, manifest


def flops(config: BackboneConfig, packed: bool) -> float:
    """Multiply-adds x 2 of the matrix products of one image at K = 2, pass by pass or packed."""
    n, v, d, e, k = config.n_patches + 1, config.n_visible + 1, config.encoder_dim, config.decoder_dim, 2
    m, ratio, p = n - v, config.mlp_ratio, config.patch_values

    def block(width: int, tokens: float, queries: float, segments: list[tuple[float, float]]) -> float:
        """tokens get keys and values; queries query, projection, MLP too; segments: (queries, keys) of attention."""
        dense = 2 * tokens * 2 * width**2 + queries * (2 + 2 * ratio) * 2 * width**2
        return dense + sum(2 * 2 * q * key * width for q, key in segments)

    full: list[tuple[float, float]] = [(n, n)]
    masked: list[tuple[float, float]] = [(v, v)] * k
    embed = 2 * (n - 1) * p * d
    pixels = 2 * p * e
    encoder = config.encoder_depth * block(d, n + k * v, n + k * v, full + masked)
    decoder = config.decoder_depth * block(e, k * n, k * n, [(n, n)] * k)
    if not packed:  # every pass embeds all patches and predicts all of them, as transformers' ViTMAE does too
        return embed * (k + 1) + encoder + decoder + k * (2 * v * d * e + n * pixels)
    encoder += block(d, n + k * v, 1 + k * v, [(1, n), *masked]) - block(d, n + k * v, n + k * v, full + masked)
    encoder -= 3 * k * v * 2 * d**2
    decoder += block(e, k * n, k * m, [(m, n)] * k) - block(e, k * n, k * n, [(n, n)] * k)
    decoder -= 3 * k * m * 2 * e**2
    return embed + encoder + decoder + k * (2 * v * d * e + m * pixels)


def graphs(work: Path, backbone: str) -> dict[str, Path]:
    """Make the graphs that are missing."""
    import onnx
    from baselines import plain_graph
    from cinemae.export.fused import fused_graph, packed_graph
    from cinemae.export.graph.packed import PackedDetector
    from cinemae.export.int8.recipe import choose_recipe
    from cinemae.export.int8.rewrite import quantise_for_cpu
    from cinemae.export.parity import parity_images

    work.mkdir(parents=True, exist_ok=True)
    paths = {kind: work / f"{backbone}.{kind}.onnx" for kind in ("plain", "packed", "bf16", "int8")}
    if all(path.exists() for path in paths.values()):
        return paths
    found, _ = detector(backbone)
    if not paths["plain"].exists():
        onnx.save(plain_graph(found), paths["plain"])
    if not paths["packed"].exists():
        onnx.save(fused_graph(found), paths["packed"])
    if not paths["bf16"].exists():
        onnx.save(fused_graph(found, "bf16"), paths["bf16"])
    if not paths["int8"].exists():
        packed = PackedDetector(found)
        images = parity_images(8, found.mae.config.image_size)
        recipe = choose_recipe(packed, [images[i : i + 2] for i in range(0, 8, 2)])
        model = packed_graph(packed)
        quantise_for_cpu(model, packed, recipe)
        onnx.save(model, paths["int8"])
    return paths


def cpu_session(model: Path | bytes) -> Any:
    """A session of onnxruntime on the CPU.

    Threads spin as onnxruntime's default lets them; products are exact without VNNI too, as in the runtime.
    """
    from cinemae.runtime.engines.onnx.library import import_onnxruntime
    from cinemae.runtime.engines.onnx.saturation import OPTION, saturates

    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    if saturates(onnxruntime):
        options.add_session_config_entry(*OPTION)
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
