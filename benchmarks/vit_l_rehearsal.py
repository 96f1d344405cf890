"""The whole way to an engine, rehearsed with random ViT-L weights: python benchmarks/vit_l_rehearsal.py FOLDER [N]

Writes FOLDER/vit-mae-large, seeded random values in the published layout of facebook/vit-mae-large, and
FOLDER/GenImage, rendered pictures in GenImage's layout (N to train on, default 64, a quarter as many to test, and as
many of a second generator), then runs examples/genimage_to_engine.py on them and writes
benchmarks/vit-l-rehearsal.md. Random weights say nothing about accuracy; shapes, steps, time and memory are those of
the real ones.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))

from published_layouts import (  # noqa: E402
    VIT_LARGE,
    fair_shapes,
    fair_state,
    hugging_face_config,
    hugging_face_state,
    write_hugging_face,
)
from training_tree import render  # noqa: E402

GENERATORS = {"stable_diffusion_v_1_4": "imagenet_ai_0419_sdv4", "Midjourney": "imagenet_midjourney"}
"""The folders of two of GenImage's archives as they unpack."""
SIZE = (500, 375)


def write_tree(root: Path, count: int) -> None:
    """GenImage's layout: ROOT/GENERATOR/ARCHIVE/{train,val}/{ai,nature}."""
    for g, (generator, archive) in enumerate(GENERATORS.items()):
        for split, images in (("train", count), ("val", count // 4))[g:]:
            for label, name in enumerate(("nature", "ai")):
                folder = root / generator / archive / split / name
                folder.mkdir(parents=True, exist_ok=True)
                for i in range(images // 2):
                    seed = ((g * 2 + (split == "val")) * 2 + label) * 10_000 + i
                    render(label, seed, SIZE).convert("RGB").save(folder / f"{i:04}.jpg", quality=90)


def main() -> None:
    """Write the inputs, run the example, write the table."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 64
    weights, tree, out = folder / "vit-mae-large", folder / "GenImage", folder / "out"
    if not (weights / "model.safetensors").exists():
        state = hugging_face_state(fair_state(fair_shapes(**VIT_LARGE)), "published")
        write_hugging_face(weights, state, hugging_face_config(VIT_LARGE, decoder_heads=16))
        del state
    write_tree(tree, count)
    example = HERE.parent / "examples" / "genimage_to_engine.py"
    subprocess.run(
        [sys.executable, str(example), str(weights), str(tree), str(out), "stable_diffusion_v_1_4"], check=True
    )
    images = len(list(tree.rglob("*.jpg")))
    text = f"""# ViT-L from weights to engine

`python benchmarks/vit_l_rehearsal.py FOLDER {count}`, {date.today()}: {images} rendered images of {SIZE[0]}x{SIZE[1]},
random weights in the published layout of facebook/vit-mae-large, {os.cpu_count()} cores ({platform.machine()}), no GPU.
The machine was not idle.

{(out / "steps.md").read_text("utf-8")}
The engine is float16 and was compared with eager PyTorch and with fp32 on the CPU; no GPU has run it. Random
weights say nothing about accuracy.
"""
    (HERE / "vit-l-rehearsal.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
