"""Checkpoints of every class that the exporter reads, tiny and with random weights.

Each function writes a folder as the library itself would, tokenizer and preprocessor with it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from timm.models import register_model
from timm.models.fastvit import FastVit
from timm.models.vision_transformer import VisionTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn

from conftest import TINY

SIZE = 64
WIDTHS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = [
    "a dog and a cat; the eiffel tower at night, in black-and-white 1954!",
    "A Photo of the Windy Beach: 1234 things, a_b (c) über jäger fünf",
]
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def awaken(model: nn.Module, seed: int) -> nn.Module:
    """Weights under which different inputs get clearly different outputs. What libraries set up
    for training (tiny weights, zeros, layer scales near 0) leaves a model blind."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):  # of a norm
                parameter.normal_(1, 0.2, generator=draw)
            elif parameter.ndim <= 1:
                parameter.normal_(0, 0.1, generator=draw)
            elif "embed" in name and parameter.ndim == 2:
                parameter.normal_(0, 0.6, generator=draw)
            else:
                fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
                parameter.normal_(0, 1.4 / math.sqrt(fan_in), generator=draw)
        for name, scale in model.named_parameters():
            if name.endswith((".gamma", "lambda1")):
                scale.normal_(0.8, 0.2, generator=draw)
    return model.eval()


def write(folder: Path, name: str, fields: Any) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(fields), encoding="utf-8")


# Tokenizers


def gemma_tokenizer() -> Tokenizer:
    """Byte-pair encoding as Gemma has it: spaces are a letter, unknown letters are bytes."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    letters = [f"<0x{number:02X}>" for number in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special + letters)
    tokenizer.train_from_iterator(WORDS * 3, trainer)
    end = [("<eos>", tokenizer.token_to_id("<eos>"))]
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=end)
    return tokenizer


def wordpiece_tokenizer() -> Tokenizer:
    """As multilingual BERT has it: case and accents stay."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=160, special_tokens=special)
    tokenizer.train_from_iterator(WORDS * 3, trainer)
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=ends
    )
    return tokenizer


def write_gemma(folder: Path, kind: str) -> Tokenizer:
    tokenizer = gemma_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    write(folder, "tokenizer_config.json", {"tokenizer_class": kind, **names})
    return tokenizer


# transformers


def clip(folder: Path, *, activation: str = "quick_gelu", **vision: Any) -> None:
    from random_clip import clip_config, random_clip

    sizes = {**WIDTHS, "hidden_size": 24}
    config = clip_config(vision=sizes, text={**sizes, "hidden_size": 12})
    config.vision_config.hidden_act = config.text_config.hidden_act = activation
    for name, value in vision.items():
        setattr(config.vision_config, name, value)
    random_clip(config, seed=3).save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((TINY / "tokenizer.json").read_bytes())
    kind = {"tokenizer_class": "CLIPTokenizer", "pad_token": "<|endoftext|>"}
    write(folder, "tokenizer_config.json", kind)


def siglip(folder: Path, *, activation: str = "gelu_pytorch_tanh") -> None:
    """SigLIP 2 of fixed resolution: its architecture is SigLIP's, its tokenizer Gemma's."""
    from transformers import SiglipConfig, SiglipModel

    folder.mkdir(parents=True)
    tokenizer = write_gemma(folder, "Siglip2Tokenizer")
    shared = {**WIDTHS, "intermediate_size": 48, "hidden_act": activation}
    text = {
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": 16,
        "projection_size": 32,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
    }
    config = SiglipConfig(
        vision_config={**shared, "image_size": SIZE, "patch_size": 16},
        text_config={**shared, **text},
    )
    awaken(SiglipModel(config), seed=5).save_pretrained(folder)
    statistics = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    size = {"height": SIZE, "width": SIZE}
    write(folder, "preprocessor_config.json", {"size": size, "resample": 2, **statistics})


def dinov2(folder: Path, *, registers: int = 0, swiglu: bool = False) -> None:
    """Trained at 56 pixels, used at 64: its position table is brought to the other size."""
    from transformers import AutoModel, Dinov2Config, Dinov2WithRegistersConfig

    shared = {
        **WIDTHS,
        "image_size": 48,
        "patch_size": 8,
        "mlp_ratio": 2,
        "layerscale_value": 0.5,
        "use_swiglu_ffn": swiglu,
    }
    if registers:
        config = Dinov2WithRegistersConfig(num_register_tokens=registers, **shared)
    else:
        config = Dinov2Config(**shared)
    awaken(AutoModel.from_config(config), seed=6).save_pretrained(folder)
    stated = {
        "size": {"shortest_edge": 80},
        "do_center_crop": True,
        "crop_size": {"height": SIZE, "width": SIZE},
        "resample": 3,
        **IMAGENET,
    }
    write(folder, "preprocessor_config.json", stated)


def smolvlm(folder: Path, *, kind: str = "smolvlm", activation: str = "silu") -> None:
    """SmolVLM2's architecture: SigLIP's vision, a connector, Llama's decoder with shared keys."""
    from transformers import AutoConfig, AutoModel

    folder.mkdir(parents=True)
    tokenizer = gemma_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    marks = ["<fake_token_around_image>", "<global-img>", "<image>"]
    tokenizer.add_special_tokens(marks)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    write(folder, "tokenizer_config.json", {"tokenizer_class": "TokenizersBackend", **names})
    decoder = {
        "model_type": "llama",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_act": activation,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 1,
    }
    config = AutoConfig.for_model(
        kind,
        vision_config={
            **WIDTHS,
            "hidden_size": 24,
            "intermediate_size": 48,
            "image_size": SIZE,
            "patch_size": 8,
        },
        text_config=decoder,
        scale_factor=4,
        image_token_id=tokenizer.token_to_id("<image>"),
    )
    awaken(AutoModel.from_config(config), seed=12).save_pretrained(folder)
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    tiles = {"max_image_size": {"longest_edge": SIZE}, "do_image_splitting": True, "resample": 1}
    write(folder, "preprocessor_config.json", {**half, **tiles})


# sentence-transformers


def multilingual(folder: Path, *, dimension: int = 512, **dense: Any) -> None:
    """The layout of clip-ViT-B-32-multilingual-v1."""
    from transformers import DistilBertConfig, DistilBertModel

    tokenizer = wordpiece_tokenizer()
    config = DistilBertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=40,
        dim=32,
        n_layers=2,
        n_heads=2,
        hidden_dim=64,
        activation="gelu",
    )
    awaken(DistilBertModel(config), seed=8).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    write(
        folder,
        "tokenizer_config.json",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": False},
    )
    write(folder, "sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": False})
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, (path, kind) in enumerate(kinds.items())
    ]
    write(folder, "modules.json", modules)
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    write(folder, "1_Pooling/config.json", {**pooling, "pooling_mode_cls_token": False})
    function = "torch.nn.modules.linear.Identity"
    stated = {"in_features": 32, "out_features": dimension, "bias": False}
    write(folder, "2_Dense/config.json", {**stated, "activation_function": function, **dense})
    weight = torch.randn(dimension, 32, generator=torch.Generator().manual_seed(9)) / 6
    save_file({"linear.weight": weight}, folder / "2_Dense" / "model.safetensors")


# open_clip


def open_clip_folder(folder: Path, model_cfg: dict[str, Any], preprocess: dict[str, Any]) -> None:
    import open_clip

    kind = open_clip.CustomTextCLIP if model_cfg.get("custom_text") else open_clip.CLIP
    settings = {name: value for name, value in model_cfg.items() if name != "custom_text"}
    folder.mkdir(parents=True, exist_ok=True)
    model = awaken(kind(**settings), seed=4)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    write(
        folder,
        "open_clip_config.json",
        {"model_cfg": model_cfg, "preprocess_cfg": {"mode": "RGB", **preprocess}},
    )


CLIP_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
PLAIN = {"interpolation": "bicubic", "resize_mode": "shortest", "mean": [0.4] * 3, "std": [0.3] * 3}


def openclip(folder: Path, *, quick_gelu: bool = False, **vision: Any) -> None:
    """OpenCLIP's own vision transformer, with layer scales, and CLIP's text tower."""
    sizes = {"image_size": SIZE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
    model = {
        "embed_dim": 24,
        "quick_gelu": quick_gelu,
        "vision_cfg": {**sizes, "ls_init_value": 0.5, **vision},
        "text_cfg": CLIP_TEXT,
    }
    open_clip_folder(folder, model, {"size": SIZE, **PLAIN})


def openclip_siglip(folder: Path) -> None:
    """SigLIP as open_clip has it: a transformer of timm, a text tower that pools its last token."""
    folder.mkdir(parents=True)
    tokenizer = write_gemma(folder, "TokenizersBackend")
    text = {
        "context_length": 16,
        "vocab_size": tokenizer.get_vocab_size(),
        "hf_tokenizer_name": "in the folder",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 32,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
        "act_kwargs": {"approximate": "tanh"},
    }
    vision = {"image_size": SIZE, "timm_model_name": "clipindex_tiny_siglip"}
    pool = {"timm_model_pretrained": False, "timm_pool": "map", "timm_proj": "none"}
    model = {
        "embed_dim": 32,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {**vision, **pool},
        "text_cfg": text,
    }
    half = {"mean": [0.5] * 3, "std": [0.5] * 3}
    squash = {"interpolation": "bicubic", "resize_mode": "squash"}
    open_clip_folder(folder, model, {"size": [SIZE, SIZE], **squash, **half})


def mobileclip(folder: Path) -> None:
    """Convolutions of timm, and a text tower that sees its padding."""
    vision = {
        "timm_model_name": "clipindex_tiny_fastvit",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": None,
        "timm_drop": 0.0,
        "timm_drop_path": 0.0,
        "image_size": SIZE,
    }
    model = {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": vision,
        "text_cfg": {**CLIP_TEXT, "no_causal_mask": True},
    }
    raw = {"mean": [0.0] * 3, "std": [1.0] * 3}
    plain = {"interpolation": "bilinear", "resize_mode": "shortest"}
    open_clip_folder(folder, model, {"size": [SIZE, SIZE], **plain, **raw})


def timm_model(kind: type[nn.Module], pretrained: bool, **settings: Any) -> nn.Module:
    assert not pretrained
    for name in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        settings.pop(name, None)
    model = kind(**settings)
    model.default_cfg = model.pretrained_cfg = {"input_size": (3, SIZE, SIZE)}
    return model


@register_model
def clipindex_tiny_siglip(pretrained: bool = False, **settings: Any) -> nn.Module:
    sizes = {"img_size": SIZE, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2}
    shape = {"class_token": False, "act_layer": "gelu_tanh"}
    return timm_model(VisionTransformer, pretrained, **{**sizes, **shape, **settings})


@register_model
def clipindex_tiny_fastvit(pretrained: bool = False, **settings: Any) -> nn.Module:
    sizes = {"layers": (1, 1, 1, 1), "embed_dims": (16, 16, 32, 32), "mlp_ratios": (2, 2, 2, 2)}
    mixers = ("repmixer", "repmixer", "repmixer", "attention")
    shape = {
        "token_mixers": mixers,
        "lkc_use_act": True,
        "se_downsamples": (False, False, True, True),
    }
    return timm_model(FastVit, pretrained, **{**sizes, **shape, **settings})
