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


def block_shapes(dim):
    return {
        "norm1.weight": (dim,), "norm1.bias": (dim,), "attn.qkv.weight": (3 * dim, dim), "attn.qkv.bias": (3 * dim,),
        "attn.proj.weight": (dim, dim), "attn.proj.bias": (dim,), "norm2.weight": (dim,), "norm2.bias": (dim,),
        "mlp.fc1.weight": (4 * dim, dim), "mlp.fc1.bias": (4 * dim,), "mlp.fc2.weight": (dim, 4 * dim),
        "mlp.fc2.bias": (dim,),
    }


def fair_shapes(image, patch, dim, depth, decoder_dim, decoder_depth):
    n = (image // patch) ** 2
    shapes = {
        "cls_token": (1, 1, dim), "pos_embed": (1, n + 1, dim), "mask_token": (1, 1, decoder_dim),
        "decoder_pos_embed": (1, n + 1, decoder_dim), "patch_embed.proj.weight": (dim, 3, patch, patch),
        "patch_embed.proj.bias": (dim,), "norm.weight": (dim,), "norm.bias": (dim,),
        "decoder_embed.weight": (decoder_dim, dim), "decoder_embed.bias": (decoder_dim,),
        "decoder_norm.weight": (decoder_dim,), "decoder_norm.bias": (decoder_dim,),
        "decoder_pred.weight": (patch * patch * 3, decoder_dim), "decoder_pred.bias": (patch * patch * 3,),
    }
    for i in range(depth):
        shapes |= {f"blocks.{i}.{key}": shape for key, shape in block_shapes(dim).items()}
    for i in range(decoder_depth):
        shapes |= {f"decoder_blocks.{i}.{key}": shape for key, shape in block_shapes(decoder_dim).items()}
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


OUTER = {
    "vit.embeddings.cls_token": "cls_token",
    "vit.embeddings.position_embeddings": "pos_embed",
    "vit.embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "vit.embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "vit.layernorm.weight": "norm.weight",
    "vit.layernorm.bias": "norm.bias",
    "decoder.mask_token": "mask_token",
    "decoder.decoder_pos_embed": "decoder_pos_embed",
    "decoder.decoder_embed.weight": "decoder_embed.weight",
    "decoder.decoder_embed.bias": "decoder_embed.bias",
    "decoder.decoder_norm.weight": "decoder_norm.weight",
    "decoder.decoder_norm.bias": "decoder_norm.bias",
    "decoder.decoder_pred.weight": "decoder_pred.weight",
    "decoder.decoder_pred.bias": "decoder_pred.bias",
}
OLD_BLOCK = (
    "attention.attention.query.weight", "attention.attention.query.bias", "attention.attention.key.weight",
    "attention.attention.key.bias", "attention.attention.value.weight", "attention.attention.value.bias",
    "attention.output.dense.weight", "attention.output.dense.bias", "intermediate.dense.weight",
    "intermediate.dense.bias",
    "output.dense.weight", "output.dense.bias", "layernorm_before.weight", "layernorm_before.bias",
    "layernorm_after.weight", "layernorm_after.bias",
)
NEW_BLOCK = (
    "attention.q_proj.weight", "attention.q_proj.bias", "attention.k_proj.weight", "attention.k_proj.bias",
    "attention.v_proj.weight", "attention.v_proj.bias", "attention.o_proj.weight", "attention.o_proj.bias",
    "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias", "layernorm_before.weight",
    "layernorm_before.bias", "layernorm_after.weight", "layernorm_after.bias",
)
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
