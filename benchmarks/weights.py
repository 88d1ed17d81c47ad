"""One set of random ViT-B/32 weights, laid out as clipindex and each peer expects it.

    python -m benchmarks.weights FOLDER

FOLDER receives `bundle/` (clipindex), `onnx/` (fastembed and rclip: the plain export of
transformers' vision model), `sentence-transformers/` and `open_clip.pt`.
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPModel

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import convert_to_onnx  # noqa: E402
from exporter import preprocessors  # noqa: E402
from random_clip import random_clip, vit_b_32  # noqa: E402

SEED = 0
PREPROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": preprocessors.BICUBIC,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": preprocessors.CLIP_MEAN,
    "image_std": preprocessors.CLIP_STD,
}


class PlainVision(torch.nn.Module):
    """Normalised float pixels [batch, 3, 224, 224] to embeddings, as exporters write it."""

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.tower, self.projection = model.vision_model, model.visual_projection

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.projection(self.tower(pixels).pooler_output)
        return pooled


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = random_clip(vit_b_32(), SEED)
    make_onnx(model, folder / "onnx")
    make_sentence_transformers(model, folder / "sentence-transformers")
    torch.save(open_clip_weights(model), folder / "open_clip.pt")
    made = ["--random-weights", "--seed", str(SEED), "--output", str(folder / "bundle")]
    if code := convert_to_onnx.main(made):
        raise SystemExit(code)


def make_onnx(model: CLIPModel, folder: Path) -> None:
    """`model.onnx` with the input `input`, and the preprocessing that fastembed reads."""
    folder.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            PlainVision(model).eval(),
            (torch.zeros(2, 3, 224, 224),),
            str(folder / "model.onnx"),
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            output_names=["image_embeds"],
            dynamic_axes={"input": {0: "batch"}, "image_embeds": {0: "batch"}},
        )
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))


def make_sentence_transformers(model: CLIPModel, folder: Path) -> None:
    """The layout of `clip-ViT-B-32` on the hub: one module that holds transformers' CLIP."""
    inner = folder / "0_CLIPModel"
    model.save_pretrained(inner)
    (inner / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    (inner / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77})
    )
    shutil.copy(convert_to_onnx.COMMITTED_TOKENIZER, inner / "tokenizer.json")
    kind = "sentence_transformers.models.CLIPModel"
    modules = [{"idx": 0, "name": "0", "path": inner.name, "type": kind}]
    (folder / "modules.json").write_text(json.dumps(modules))


def open_clip_weights(model: CLIPModel) -> dict[str, Any]:
    """The state dict under OpenAI's names, which open_clip keeps."""
    vision, text = model.vision_model, model.text_model
    state = {
        "visual.conv1.weight": vision.embeddings.patch_embedding.weight,
        "visual.class_embedding": vision.embeddings.class_embedding,
        "visual.positional_embedding": vision.embeddings.position_embedding.weight,
        **_pair("visual.ln_pre", vision.pre_layrnorm),
        **_layers("visual.transformer", vision.encoder),
        **_pair("visual.ln_post", vision.post_layernorm),
        "visual.proj": model.visual_projection.weight.T,
        "token_embedding.weight": text.embeddings.token_embedding.weight,
        "positional_embedding": text.embeddings.position_embedding.weight,
        **_layers("transformer", text.encoder),
        **_pair("ln_final", text.final_layer_norm),
        "text_projection": model.text_projection.weight.T,
        "logit_scale": model.logit_scale,
    }
    return {name: value.detach().contiguous() for name, value in state.items()}


def _layers(name: str, encoder: Any) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for number, layer in enumerate(encoder.layers):
        block, attention = f"{name}.resblocks.{number}", layer.self_attn
        three = (attention.q_proj, attention.k_proj, attention.v_proj)
        state |= _pair(f"{block}.ln_1", layer.layer_norm1)
        state[f"{block}.attn.in_proj_weight"] = torch.cat([each.weight for each in three])
        state[f"{block}.attn.in_proj_bias"] = torch.cat([each.bias for each in three])
        state |= _pair(f"{block}.attn.out_proj", attention.out_proj)
        state |= _pair(f"{block}.ln_2", layer.layer_norm2)
        state |= _pair(f"{block}.mlp.c_fc", layer.mlp.fc1)
        state |= _pair(f"{block}.mlp.c_proj", layer.mlp.fc2)
    return state


def _pair(name: str, layer: Any) -> dict[str, Any]:
    return {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}


if __name__ == "__main__":
    main()
