r"""Train the towers of `mini` on cached features; resume by running the same command again.

    PYTHONPATH=scripts python -m mini.train --cache CACHE --run RUN --phase heads --steps 2000
    PYTHONPATH=scripts python -m mini.train --cache CACHE --run RUN2 --phase joint \
        --start RUN --steps 800

`heads` leaves both towers frozen; `joint` goes on from a finished run and also trains the last
layers of MiniLM and, with `--train-blocks K`, the last K (at most 5) blocks of EfficientNet, at
small learning rates. RUN receives `checkpoint.pt` (everything a resumed run needs), `weights.pt`
(the averaged weights) and `log.jsonl`. On a busy machine `--threads 1` is faster than 2.
Variants are judged on the validation split of the training pictures alone.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .dataset import Batch, Dataset
from .dual_encoder import DualEncoder
from .evaluate import neighbour_agreement, ranks_of_right, recall
from .losses import contrast, soft_targets, structure_loss
from .towers import load_efficientnet


@dataclass(frozen=True)
class Options:
    """What a run is made of; all of it is written to the log."""

    phase: str
    steps: int
    batch: int
    head_rate: float
    tower_rate: float
    captioned: float
    named: float
    class_weight: float
    structure_weight: float
    hidden: int
    dropout: float
    average: float
    train_blocks: int
    seed: int


class Trainer:
    """One run: model, data, optimiser, averaged weights."""

    def __init__(self, cache: Path, options: Options):
        torch.manual_seed(options.seed)
        self.options = options
        self.joint = options.phase == "joint"
        self.data = Dataset(cache, views=4 if options.train_blocks else 0)
        self.model = DualEncoder(options.hidden, options.dropout)
        self.classifier = load_efficientnet()[1]
        self.rng = np.random.default_rng(options.seed)
        self.step = 0
        self.named = torch.from_numpy(self.data.named)
        if not self.joint:
            self.model.vision_head.set_statistics(self.data.pooled[self.data.labelled].float())
            self.model.text_head.set_statistics(self.data.minilm.float())
        heads = self.model.head_parameters()
        groups: list[dict] = [{"params": heads, "peak": options.head_rate}]
        if self.joint:
            towers = self.model.tower_parameters(options.train_blocks)
            groups.append({"params": towers, "peak": options.tower_rate})
        self.trained = [parameter for group in groups for parameter in group["params"]]
        trained_ids = {id(parameter) for parameter in self.trained}
        for parameter in self.model.parameters():
            parameter.requires_grad_(id(parameter) in trained_ids)
        self.optimiser = torch.optim.AdamW(groups, lr=options.head_rate, weight_decay=0.05)
        self.averages = [parameter.detach().clone() for parameter in self.trained]

    def image_embeddings(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        if not self.options.train_blocks:
            features = self.data.pooled_views[views, rows].float()
        else:
            features = self.model.backbone.pool(self.data.stage_features(rows, views))
        return functional.normalize(self.model.vision_head(features))

    def mixture(self, batch: Batch, count: int) -> tuple[np.ndarray, Tensor] | None:
        """With both towers frozen, half of the captions are mixed with another of their picture."""
        if self.joint:
            return None
        shares = np.where(self.rng.random(count) < 0.5, self.rng.uniform(0.5, 1.0, count), 1.0)
        shares[len(batch.texts) :] = 1.0
        return batch.partners, torch.from_numpy(shares.astype(np.float32))[:, None]

    def text_embeddings(
        self, texts: np.ndarray, mixture: tuple[np.ndarray, Tensor] | None = None
    ) -> Tensor:
        if not self.joint:
            features = self.data.minilm[texts].float()
            if mixture is not None:
                partners, shares = mixture
                others = np.concatenate([partners, texts[len(partners) :]])
                mixed = torch.lerp(self.data.minilm[others].float(), features, shares)
                features = functional.normalize(mixed)
        else:
            features = functional.normalize(self.encode(texts))
        return functional.normalize(self.model.text_head(features))

    def encode(self, texts: np.ndarray) -> Tensor:
        """MiniLM over chunks of texts of like length, so that little is spent on padding."""
        order = np.argsort((self.data.tokens[texts] != 0).sum(1), kind="stable")
        chunks = [chunk for chunk in np.array_split(order, 5) if len(chunk)]
        encoded = torch.cat([self.model.encoder(self.data.token_ids(texts[c])) for c in chunks])
        return encoded[torch.from_numpy(np.argsort(order))]

    def loss(self) -> dict[str, Tensor]:
        """One batch's losses by name."""
        options, data = self.options, self.data
        batch = data.draw(options.batch, options.captioned, options.named, self.rng)
        images = self.image_embeddings(batch.rows, batch.views)
        chances = self.classifier(data.pooled[batch.rows].float()).softmax(1).detach()
        prompts = data.class_prompts(self.rng)  # (C,)
        columns = torch.arange(len(self.named))[self.named]
        if self.joint:  # a sample of the classes: those the batch is about first
            likely = chances[:, columns].sum(0) + torch.from_numpy(self.rng.random(len(columns)))
            chosen = likely.topk(64).indices
            prompts, columns = prompts[chosen.numpy()], columns[chosen]
        free_count = 64 if self.joint else 512
        free = self.rng.integers(data.first_free, len(data.texts), free_count)
        asked = np.concatenate([batch.texts, prompts, free])
        texts = self.text_embeddings(asked, self.mixture(batch, len(asked)))
        own, names = texts[: options.batch], texts[options.batch : options.batch + len(prompts)]
        losses = {
            "contrast": contrast(
                images, own, self.model.log_scale.exp(), soft_targets(batch, chances)
            )
        }
        target = functional.normalize(chances[:, columns], p=1, dim=1)
        logits = self.model.log_class_scale.exp() * images @ names.T
        weight = chances[:, columns].sum(1)  # (B,) a picture of none of these counts little
        classes = -(target * logits.log_softmax(1)).sum(1)
        losses["classes"] = options.class_weight * (classes * weight).sum() / weight.sum()
        original = data.minilm[asked].float()
        keep = self.rng.permutation(len(asked))[:768]
        losses["structure"] = options.structure_weight * structure_loss(texts[keep], original[keep])
        return losses

    def train_step(self) -> dict[str, float]:
        options = self.options
        progress = self.step / options.steps
        warm_up = min(1.0, (self.step + 1) / 30)
        factor = warm_up * (0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        self.model.train()
        losses = self.loss()
        self.optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()
        with torch.no_grad():
            self.model.log_scale.clamp_(max=math.log(100.0))
            decay = min(options.average, (1 + self.step) / (10 + self.step))
            for average, parameter in zip(self.averages, self.trained, strict=True):
                average.lerp_(parameter, 1 - decay)
        self.step += 1
        return {name: round(float(value.detach()), 4) for name, value in losses.items()}

    def swap_averages(self) -> None:
        """Exchange the trained and the averaged weights; call twice to undo."""
        with torch.no_grad():
            for average, parameter in zip(self.averages, self.trained, strict=True):
                held = parameter.clone()
                parameter.copy_(average)
                average.copy_(held)

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        """Figures of the averaged weights on the validation split."""
        self.swap_averages()
        self.model.eval()

        def images(rows: np.ndarray) -> np.ndarray:
            parts = [rows[start : start + 128] for start in range(0, len(rows), 128)]
            views = np.zeros(128, np.int64)
            return torch.cat([self.image_embeddings(p, views[: len(p)]) for p in parts]).numpy()

        def texts(numbers: np.ndarray) -> np.ndarray:
            parts = [numbers[start : start + 128] for start in range(0, len(numbers), 128)]
            return torch.cat([self.text_embeddings(part) for part in parts]).numpy()

        rows, captions = self.data.caption_pairs()
        pictures = images(rows)
        every = [(index, text) for index, numbers in enumerate(captions) for text in numbers]
        asked = texts(np.array([text for _, text in every]))
        ranks = ranks_of_right(asked @ pictures.T, [{index} for index, _ in every])
        first = np.cumsum([0, *(len(numbers) for numbers in captions[:-1])])
        sure, classes = self.data.sure_rows()
        prompts = np.array([self.data.class_texts[index][0][0][3] for index in classes])
        names = images(sure) @ texts(prompts).T
        labelled = [row for row in self.data.validation if not self.data.manifest[row]["captions"]]
        labelled = [row for row in labelled if self.data.manifest[row]["labels"]]
        labels = [self.data.manifest[row]["labels"][0] for row in labelled]
        figures = {
            "captions": recall(ranks[first]),
            "all_captions": recall(ranks),
            "caption_pool": len(rows),
            "names": recall(ranks_of_right(names, [{index} for index in range(len(sure))])),
            "name_pool": len(sure),
            "neighbours": neighbour_agreement(images(np.array(labelled)), labels),
        }
        self.swap_averages()
        return figures

    def save(self, run: Path, seconds: float) -> None:
        trained = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "averages": self.averages,
            "rng": self.rng.bit_generator.state,
            "torch_rng": torch.get_rng_state(),
            "step": self.step,
            "seconds": seconds,
        }
        torch.save(trained, run / "checkpoint.tmp")
        (run / "checkpoint.tmp").rename(run / "checkpoint.pt")
        self.swap_averages()
        torch.save(self.model.state_dict(), run / "weights.pt")
        self.swap_averages()

    def resume(self, run: Path) -> float:
        """Load a checkpoint; the seconds spent so far."""
        state = torch.load(run / "checkpoint.pt", weights_only=False)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.averages = state["averages"]
        self.rng.bit_generator.state = state["rng"]
        torch.set_rng_state(state["torch_rng"])
        self.step = state["step"]
        return float(state["seconds"])

    def run(self, run: Path, before: float, every: int) -> None:
        """Train to the end; each `every` steps a checkpoint, and a line in the log."""
        started = time.monotonic()
        with open(run / "log.jsonl", "a") as log:
            while self.step < self.options.steps:
                losses = self.train_step()
                if self.step % every == 0 or self.step == self.options.steps:
                    seconds = round(before + time.monotonic() - started, 1)
                    self.save(run, seconds)
                    line = {"step": self.step, "seconds": seconds, **losses, **self.validate()}
                    log.write(json.dumps(line) + "\n")
                    log.flush()
                    print(json.dumps(line), flush=True)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="the finished run to go on from")
    parser.add_argument("--phase", choices=["heads", "joint"], default="heads")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--head-rate", type=float, default=1e-3)
    parser.add_argument("--tower-rate", type=float, default=3e-5)
    parser.add_argument("--captioned", type=float, default=0.5)
    parser.add_argument("--named", type=float, default=0.5)
    parser.add_argument("--class-weight", type=float, default=0.5)
    parser.add_argument("--structure-weight", type=float, default=0.5)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--average", type=float, default=0.998)
    parser.add_argument("--train-blocks", type=int, default=0, help="last blocks of EfficientNet")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    arguments = parse_options()
    torch.set_num_threads(arguments.threads)
    chosen = {name: getattr(arguments, name) for name in Options.__dataclass_fields__}
    run: Path = arguments.run
    run.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(arguments.cache, Options(**chosen))
    before = 0.0
    if (run / "checkpoint.pt").exists():
        before = trainer.resume(run)
    elif arguments.start:
        trainer.model.load_state_dict(torch.load(arguments.start / "weights.pt"))
        trainer.averages = [parameter.detach().clone() for parameter in trainer.trained]
    (run / "options.json").write_text(json.dumps(chosen, indent=1))
    trainer.run(run, before, arguments.every)


if __name__ == "__main__":
    main()
