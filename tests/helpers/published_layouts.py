"""Masked-autoencoder files as others publish them, with seeded random values.

The key lists are those of the sources themselves: FAIR's models_mae.py, the published facebook/vit-mae-* files (written
by transformers' convert_vit_mae_to_pytorch.py, whose q, k, v order is used here), and the modules of transformers 5.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

TINY = {"image": 64, "patch": 16, "dim": 128, "depth": 2, "decoder_dim": 64, "decoder_depth": 2}
VIT_LARGE = {"image": 224, "patch": 16, "dim": 1024, "depth": 24, "decoder_dim": 512, "decoder_depth": 8}


def both(stem, shape):
    """Weight of `shape` and bias of a layer."""
    return {f"{stem}.weight": shape, f"{stem}.bias": shape[:1]}


def block_shapes(dim):
    return (
        both("norm1", (dim,)) | both("attn.qkv", (3 * dim, dim)) | both("attn.proj", (dim, dim)) | both("norm2", (dim,))
        | both("mlp.fc1", (4 * dim, dim)) | both("mlp.fc2", (dim, 4 * dim))
    )


def fair_shapes(image, patch, dim, depth, decoder_dim, decoder_depth):
    n, values = (image // patch) ** 2, patch * patch * 3
    shapes = {
        "cls_token": (1, 1, dim), "pos_embed": (1, n + 1, dim), "mask_token": (1, 1, decoder_dim),
        "decoder_pos_embed": (1, n + 1, decoder_dim), **both("patch_embed.proj", (dim, 3, patch, patch)),
        **both("norm", (dim,)), **both("decoder_embed", (decoder_dim, dim)), **both("decoder_norm", (decoder_dim,)),
        **both("decoder_pred", (values, decoder_dim)),
    }
    for side, count, width in (("blocks", depth, dim), ("decoder_blocks", decoder_depth, decoder_dim)):
        for i in range(count):
            shapes |= {f"{side}.{i}.{key}": shape for key, shape in block_shapes(width).items()}
    return shapes


def fair_state(shapes, seed=0):
    """Random values everywhere: gains about 1, biases and tokens 0.3, matrices by their fan-in."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if "norm" in key and key.endswith("weight"):
            state[key] = 1 + 0.3 * noise
        elif key.endswith("weight"):
            state[key] = noise / noise[0].numel() ** 0.5
        else:
            state[key] = 0.3 * noise
    return state


def named(names, *stems):
    """Weight and bias of each of `stems` after those of the tensors that are alone."""
    return (*names, *(f"{stem}.{kind}" for stem in stems for kind in ("weight", "bias")))


DECODER = ("mask_token", "decoder_pos_embed", *named((), "decoder_embed", "decoder_norm", "decoder_pred"))
OUTER = dict(zip(
    named(("vit.embeddings.cls_token", "vit.embeddings.position_embeddings"),
          "vit.embeddings.patch_embeddings.projection", "vit.layernorm"),
    named(("cls_token", "pos_embed"), "patch_embed.proj", "norm"), strict=True,
)) | {f"decoder.{name}": name for name in DECODER}
NORMS = ("layernorm_before", "layernorm_after")
OLD_BLOCK = named(
    (), *(f"attention.attention.{name}" for name in ("query", "key", "value")), "attention.output.dense",
    "intermediate.dense", "output.dense", *NORMS,
)
NEW_BLOCK = named((), *(f"attention.{name}_proj" for name in "qkvo"), "mlp.fc1", "mlp.fc2", *NORMS)
PREFIXES = {
    "published": ("vit.encoder.layer", "decoder.decoder_layers", OLD_BLOCK),
    "transformers5": ("vit.layers", "decoder.decoder_layers", NEW_BLOCK),
    "transformers5_saved": ("vit.encoder.layer", "decoder.decoder_encoder.layer", OLD_BLOCK),
}


def hugging_face_state(fair, layout):
    """FAIR's tensors under Hugging Face's keys, fused qkv cut into rows [0, D), [D, 2D), [2D, 3D)."""
    encoder, decoder, names = PREFIXES[layout]
    state = {key: fair[source] for key, source in OUTER.items()}
    for side, prefix in (("blocks", encoder), ("decoder_blocks", decoder)):
        depth = len([key for key in fair if key.startswith(f"{side}.") and key.endswith("norm1.bias")])
        for i in range(depth):
            block = {key: fair[f"{side}.{i}.{key}"] for key in block_shapes(1)}
            dim = len(block["norm1.bias"])
            values = []
            for start in (0, dim, 2 * dim):
                values += [block[f"attn.qkv.{kind}"][start : start + dim].contiguous() for kind in ("weight", "bias")]
            for key in ("attn.proj", "mlp.fc1", "mlp.fc2", "norm1", "norm2"):
                values += [block[f"{key}.weight"], block[f"{key}.bias"]]
            state |= {f"{prefix}.{i}.{name}": value for name, value in zip(names, values, strict=True)}
    return state


def hugging_face_config(shape, eps=1e-12, heads=None, decoder_heads=None, **changes):
    return {
        "architectures": ["ViTMAEForPreTraining"], "model_type": "vit_mae", "attention_probs_dropout_prob": 0.0,
        "hidden_size": shape["dim"], "num_hidden_layers": shape["depth"], "intermediate_size": 4 * shape["dim"],
        "num_attention_heads": heads or shape["dim"] // 64, "decoder_hidden_size": shape["decoder_dim"],
        "decoder_num_hidden_layers": shape["decoder_depth"], "decoder_intermediate_size": 4 * shape["decoder_dim"],
        "decoder_num_attention_heads": decoder_heads or shape["decoder_dim"] // 32, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0, "image_size": shape["image"], "initializer_range": 0.02, "layer_norm_eps": eps,
        "mask_ratio": 0.75, "norm_pix_loss": False, "num_channels": 3, "patch_size": shape["patch"], "qkv_bias": True,
        "torch_dtype": "float32", "transformers_version": "4.16.0.dev0",
    } | changes


def write_fair(path: Path, state) -> Path:
    torch.save({"model": state}, path)
    return path


def write_hugging_face(folder: Path, state, config, weights="model.safetensors") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if weights.endswith(".safetensors"):
        save_file(state, folder / weights, metadata={"format": "pt"})
    else:
        torch.save(state, folder / weights)
    return folder


def write_shards(folder: Path, state, config) -> Path:
    """Two safetensors shards and their index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    keys = sorted(state)
    parts = {f"model-0000{i + 1}-of-00002.safetensors": keys[i::2] for i in range(2)}
    for name, chosen in parts.items():
        save_file({key: state[key] for key in chosen}, folder / name)
    weight_map = {key: name for name, chosen in parts.items() for key in chosen}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder
