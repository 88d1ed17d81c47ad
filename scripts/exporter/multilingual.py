"""A DistilBERT text tower for the picture vectors of another model, as sentence-transformers keeps
it (clip-ViT-B-32-multilingual-v1): the mean over all tokens, then one linear map."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from clipindex.model.bundle import Bundle
from clipindex.model.imports import guarded_import
from clipindex.model.manifest import Mate, TextSpec
from exporter.attention import Perceptron, SelfAttention
from exporter.bundle import BundleRefused
from exporter.parity import Vocabulary
from exporter.parts import AttentionParts, PerceptronParts, linear
from exporter.source import Checkpoint, Source, TextSide, reference_of_texts
from exporter.tokens import library_tokenizer, token_id

with guarded_import():
    from safetensors.torch import load_file
    from transformers import DistilBertModel

MODULES = ["Transformer", "Pooling", "Dense"]  # and Normalize, which clipindex does itself


def read(checkpoint: Checkpoint, licence: str, mate: Bundle) -> Source:
    """The modules in a folder of sentence-transformers. `mate`: whose vectors they search."""
    encoder, pooling, dense = modules(checkpoint)
    tokenizer = encoder.require("tokenizer.json")
    if encoder.json("config.json").get("model_type") != "distilbert":
        raise BundleRefused("of the text towers of sentence-transformers only distilbert is known")
    check_pooling(pooling)
    model = DistilBertModel.from_pretrained(encoder.folder, dtype=torch.float32).eval()
    head = load_dense(dense)
    if head.out_features != mate.manifest.dimension:
        raise BundleRefused(
            f"texts of {head.out_features} numbers; the vectors of {mate.manifest.model} have"
            f" {mate.manifest.dimension}"
        )
    spec = text_spec(encoder, model)
    return Source(
        name=checkpoint.name,
        revision=checkpoint.revision,
        licence=licence,
        origin=checkpoint.origin,
        architecture=f"distilbert-{model.config.dim}x{model.config.n_layers}",
        dimension=head.out_features,
        vision=None,
        text=TextSide(
            tower=MeanTextTower(model, head),
            reference=reference_of_texts(library_embeddings(model, head)),
            spec=spec,
            vocabulary=Vocabulary(
                size=model.config.vocab_size,
                start=token_id(tokenizer, "[CLS]"),
                end=token_id(tokenizer, "[SEP]"),
                pad=spec.pad_id,
            ),
            tokenizer=tokenizer,
            tokenize=library_tokenizer(encoder, spec.context_length),
        ),
        mate=Mate(model=mate.manifest.model, files=mate.vision_files),
    )


def modules(checkpoint: Checkpoint) -> list[Checkpoint]:
    """The folders of transformer, pooling and dense layer, in this order."""
    listed = json.loads(checkpoint.require("modules.json").read_text(encoding="utf-8"))
    kinds = [str(module["type"]).rpartition(".")[2] for module in listed]
    if kinds not in (MODULES, [*MODULES, "Normalize"]):
        raise BundleRefused(f"modules {', '.join(kinds)}; only {', '.join(MODULES)} are known")
    return [replace(checkpoint, folder=checkpoint.folder / module["path"]) for module in listed[:3]]


def check_pooling(pooling: Checkpoint) -> None:
    """Refuse any pooling but the mean."""
    stated = pooling.json("config.json")
    modes = [name for name, on in stated.items() if name.startswith("pooling_mode_") and on is True]
    if modes != ["pooling_mode_mean_tokens"] and stated.get("pooling_mode") != "mean":
        raise BundleRefused(f"pooling {', '.join(modes) or stated}: only the mean is known")


def load_dense(dense: Checkpoint) -> nn.Linear:
    """The linear map behind the mean. Raises BundleRefused if an activation follows it."""
    stated = dense.json("config.json")
    function = str(stated.get("activation_function", "none stated"))
    if function.rpartition(".")[2] != "Identity":
        raise BundleRefused(f"activation {function} of the dense layer; only Identity is known")
    path = dense.folder / "model.safetensors"
    weights = (
        load_file(path)
        if path.exists()
        else torch.load(dense.require("pytorch_model.bin"), weights_only=True)
    )
    return linear(weights["linear.weight"], weights.get("linear.bias"))


def text_spec(encoder: Checkpoint, model: DistilBertModel) -> TextSpec:
    stated = encoder.json("sentence_bert_config.json")
    length = stated.get("max_seq_length") or model.config.max_position_embeddings
    return TextSpec(
        context_length=min(length, model.config.max_position_embeddings),
        pad_id=model.config.pad_token_id,
        pad="longest",
        cleaning="lower" if stated.get("do_lower_case") else "none",
    )


def library_embeddings(model: DistilBertModel, head: nn.Linear) -> Callable[[Tensor], Tensor]:
    """What sentence-transformers computes: mean pooling of what is no padding, then the map."""

    def run(ids: Tensor) -> Tensor:
        mask = (ids != model.config.pad_token_id).long()
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[:, :, None].float()
        pooled: Tensor = head((states * weights).sum(1) / weights.sum(1).clamp(min=1e-9))
        return pooled

    return run


class MeanTextTower(nn.Module):
    """Token ids (batch, sequence) to text embeddings (batch, dimension); padding is left out."""

    def __init__(self, model: DistilBertModel, head: nn.Linear) -> None:
        super().__init__()
        embeddings = model.embeddings
        self.pad_id = int(model.config.pad_token_id)
        self.tokens = embeddings.word_embeddings
        self.positions = nn.Parameter(embeddings.position_embeddings.weight.detach().clone())
        self.norm = embeddings.LayerNorm
        self.layers = nn.ModuleList(PostNormLayer(layer) for layer in model.transformer.layer)
        self.head = head

    def forward(self, input_ids: Tensor) -> Tensor:
        length = input_ids.shape[1]
        kept = (input_ids != self.pad_id).float()  # (B, S)
        floor = torch.finfo(torch.float32).min
        mask = ((1 - kept) * floor)[:, None, None]  # (B, 1, 1, S), added to the scores
        states = self.norm(self.tokens(input_ids) + self.positions[:length])  # (B, S, width)
        for layer in self.layers:
            states = layer(states, length, mask)
        weights = kept[:, :, None]
        embeddings: Tensor = self.head((states * weights).sum(1) / weights.sum(1))
        return embeddings


class PostNormLayer(nn.Module):
    """A layer of DistilBERT, which normalises what it has written."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention = layer.attention
        self.attention = SelfAttention(
            AttentionParts(
                heads=attention.n_heads,
                query=attention.q_lin,
                key=attention.k_lin,
                value=attention.v_lin,
                output=attention.out_lin,
            )
        )
        self.norm_attention = layer.sa_layer_norm
        self.perceptron = Perceptron(
            PerceptronParts(
                widen=layer.ffn.lin1,
                activation=attention.config.activation,
                narrow=layer.ffn.lin2,
            )
        )
        self.norm_perceptron = layer.output_layer_norm

    def forward(self, states: Tensor, length: int, mask: Tensor) -> Tensor:
        states = self.norm_attention(states + self.attention(states, length, mask))
        written: Tensor = self.norm_perceptron(states + self.perceptron(states))
        return written
