r"""Go on from a finished run, or from a bundle, with the grid head and a bank of all captioned
pictures; resume by running the same command again.

    PYTHONPATH=scripts python -m mini.refine --cache CACHE --start RUN_OR_BUNDLE --run RUN

Both towers stay frozen: `mini.grids` and `mini.texts` have made what the heads read (`mini.texts`
with `--bundle` where the start's text tower is not MiniLM as published). Beside the losses of
`mini.train` there are two: each caption has to find its picture among all captioned ones (the
embeddings of earlier steps, those of pictures with captions alike left out), and pictures with
labels, class names and free nouns stay near to where the start had them, so that names are kept.
RUN receives what `mini.train` writes; RUN/mixed, with `--shares`, a mixture with the start.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .bundle_weights import read_bundle
from .dual_encoder import DualEncoder
from .grid_head import GRID_CHANNELS, PLACES, GridHead
from .losses import contrast, soft_targets, structure_loss
from .train import Options, Trainer

ALIKE = 0.85  # cosine of two pictures' mean captions: neither is the other's wrong answer
BANK_FROM = 20  # steps, until the bank has something in it
FREE_NOUNS = 128


class GridFeatures:
    """The grids of `mini.grids`, by row of the manifest and view."""

    def __init__(self, cache: Path, rows: int):
        kinds = {kind: np.load(cache / f"{kind}-rows.npy") for kind in ("captioned", "labelled")}
        self.place = np.zeros(rows, np.int64)
        self.has_views = np.zeros(rows, bool)
        self.has_views[kinds["captioned"]] = True
        for one in kinds.values():
            self.place[one] = np.arange(len(one))
        paths = sorted(cache.glob("captioned-?-grid.npy"))
        self.captioned = [np.load(path, mmap_mode="r") for path in paths]
        self.labelled = np.load(cache / "labelled-0-grid.npy", mmap_mode="r")

    def read(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        """float16 (B, 49, 816)."""
        grids = np.empty((len(rows), PLACES, GRID_CHANNELS), np.float16)
        for index, (row, view) in enumerate(zip(rows, views, strict=True)):
            source = self.captioned[view] if self.has_views[row] else self.labelled
            grids[index] = source[self.place[row]]
        return torch.from_numpy(grids)

    def sample(self) -> Tensor:
        """Grids of both kinds for the statistics."""
        parts = [self.captioned[0][::8], self.labelled[: len(self.labelled) * 2 // 3 : 15]]
        return torch.from_numpy(np.concatenate(parts).astype(np.float32))


def mean_captions(texts: list[list[list[int]]], encoded: Tensor) -> Tensor:
    """Each picture's captions as one unit vector (rows, 384); zero where there are none."""
    means = torch.zeros(len(texts), encoded.shape[1])
    for row, groups in enumerate(texts):
        if groups:
            means[row] = encoded[[group[0] for group in groups]].float().mean(0)
    return functional.normalize(means)


class Refiner(Trainer):
    """Heads and grid head on frozen towers."""

    def __init__(self, cache: Path, options: Options, start: dict[str, Tensor], extra: dict):
        super().__init__(cache, options)
        self.extra = extra
        self.model.grid_head = GridHead(dropout=options.dropout)
        self.model.load_state_dict(start, strict=False)
        self.start = DualEncoder(options.hidden, options.dropout)
        self.start.load_state_dict(start, strict=False)
        self.start.eval().requires_grad_(False)
        self.grids = GridFeatures(cache, len(self.data.manifest))
        self.head = head = self.model.grid_head
        if not any(name.startswith("grid_head.") for name in start):
            head.set_statistics(self.grids.sample())
        own = list(head.parameters())
        group = {"params": own, "peak": extra["grid_rate"], "lr": 0.0}
        self.optimiser.add_param_group(group)
        self.trained += own
        self.averages = [parameter.detach().clone() for parameter in self.trained]
        self.means = mean_captions(self.data.picture_texts, self.data.minilm)
        rows = self.data.captioned
        self.bank_place = np.full(len(self.data.manifest), -1)
        self.bank_place[rows] = np.arange(len(rows))
        self.bank = torch.zeros(len(rows), 512)
        self.in_bank = torch.zeros(len(rows), dtype=torch.bool)

    def image_embeddings(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        views = np.where(self.grids.has_views[rows], views, 0)
        pooled = self.data.pooled_views[views, rows].float()
        grid, kept = self.grids.read(rows, views), None
        if self.model.training:  # mirrored or not, and up to half of the places hidden
            mirrored = torch.from_numpy(self.rng.random(len(rows)) < 0.5)
            turned = grid[mirrored].view(-1, 7, 7, GRID_CHANNELS).flip(2)
            grid[mirrored] = turned.reshape(-1, PLACES, GRID_CHANNELS)
            hidden = self.rng.uniform(0, 0.5, (len(rows), 1))
            kept = torch.from_numpy(self.rng.random((len(rows), PLACES)) >= hidden)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.model.training):
            places = self.head(grid.float(), kept)
        return functional.normalize(self.model.vision_head(pooled) + places.float())

    def loss(self) -> dict[str, Tensor]:
        options, data = self.options, self.data
        batch = data.draw(options.batch, options.captioned, options.named, self.rng)
        count = round(options.batch * options.captioned)
        images = self.image_embeddings(batch.rows, batch.views)
        chances = self.classifier(data.pooled[batch.rows].float()).softmax(1).detach()
        prompts = data.class_prompts(self.rng)
        free = self.rng.integers(data.first_free, len(data.texts), FREE_NOUNS)
        asked = np.concatenate([batch.texts, prompts, free])
        texts = self.text_embeddings(asked, self.mixture(batch, len(asked)))
        own, names = texts[: options.batch], texts[options.batch : options.batch + len(prompts)]
        scale = self.model.log_scale.exp()
        losses = {"contrast": contrast(images, own, scale, soft_targets(batch, chances))}
        target = functional.normalize(chances[:, self.named], p=1, dim=1)
        logits = self.model.log_class_scale.exp() * images @ names.T
        weight = chances[:, self.named].sum(1)
        wrong = -(target * logits.log_softmax(1)).sum(1)
        losses["classes"] = options.class_weight * (wrong * weight).sum() / weight.sum()
        captions = torch.from_numpy(batch.classes[:count] < 0)
        losses["bank"] = self.extra["bank"] * self.bank_loss(
            batch.rows[:count], images[:count], own[:count], captions
        )
        losses["anchor"] = self.extra["anchor"] * (
            self.drift_of_images(batch.rows[count:], images[count:])
            + self.drift_of_texts(asked[options.batch :], texts[options.batch :])
        )
        keep = self.rng.permutation(len(asked))[:768]
        original = data.minilm[asked[keep]].float()
        losses["structure"] = options.structure_weight * structure_loss(texts[keep], original)
        return losses

    def bank_loss(
        self, rows: np.ndarray, images: Tensor, texts: Tensor, captions: Tensor
    ) -> Tensor:
        """Each caption finds its picture among all captioned ones."""
        places = torch.from_numpy(self.bank_place[rows])
        loss = torch.zeros(())
        if self.step > BANK_FROM:
            scale = self.model.log_scale.exp()
            logits = scale * texts[captions] @ self.bank.clone().T
            alike = self.means[rows][captions] @ self.means[self.data.captioned].T > ALIKE
            logits = logits.masked_fill(alike | ~self.in_bank, -1e4)
            right = scale * (texts * images).sum(1)[captions]
            logits[torch.arange(len(right)), places[captions]] = right
            loss = functional.cross_entropy(logits, places[captions])
        self.bank[places] = images.detach()
        self.in_bank[places] = True
        return loss

    def drift_of_images(self, rows: np.ndarray, images: Tensor) -> Tensor:
        before = functional.normalize(self.start.vision_head(self.data.pooled[rows].float()))
        return (1 - (images * before).sum(1)).mean()

    def drift_of_texts(self, texts: np.ndarray, embedded: Tensor) -> Tensor:
        before = functional.normalize(self.start.text_head(self.data.minilm[texts].float()))
        return (1 - (embedded * before).sum(1)).mean()


def mix(
    start: dict[str, Tensor], trained: dict[str, Tensor], vision: float, grid: float, text: float
) -> dict[str, Tensor]:
    """The trained state, each head gone only a share of the way from the start's; of the grid
    head, which the start may lack, a share of what it adds."""
    mixed = dict(trained)
    for name, value in trained.items():
        if name.startswith(("vision_head.", "text_head.")):
            share = vision if name.startswith("vision_head.") else text
            mixed[name] = torch.lerp(start[name], value, share)
        elif name.startswith(("grid_head.linear.", "grid_head.narrow.")):
            before = start.get(name, torch.zeros_like(value))
            mixed[name] = torch.lerp(before, value, grid)
    return mixed


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("cache", "start", "run"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=768)
    parser.add_argument("--head-rate", type=float, default=2.5e-4)
    parser.add_argument("--grid-rate", type=float, default=8e-4)
    parser.add_argument("--captioned", type=float, default=0.65)
    parser.add_argument("--named", type=float, default=0.4)
    parser.add_argument("--bank", type=float, default=0.6)
    parser.add_argument("--anchor", type=float, default=2.5)
    parser.add_argument(
        "--shares",
        type=float,
        nargs=3,
        metavar=("VISION", "GRID", "TEXT"),
        help="write also weights that went this share of the way, to RUN/mixed",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=70)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    arguments = parse_options()
    torch.set_num_threads(arguments.threads)
    options = Options(
        phase="heads",
        steps=arguments.steps,
        batch=arguments.batch,
        head_rate=arguments.head_rate,
        tower_rate=0.0,
        captioned=arguments.captioned,
        named=arguments.named,
        class_weight=0.5,
        structure_weight=0.5,
        hidden=1024,
        dropout=0.2,
        average=0.97,
        train_blocks=0,
        seed=arguments.seed,
    )
    run: Path = arguments.run
    run.mkdir(parents=True, exist_ok=True)
    whole = arguments.start / "weights.pt"
    start = torch.load(whole) if whole.exists() else read_bundle(arguments.start)
    extra = {name: getattr(arguments, name) for name in ("grid_rate", "bank", "anchor")}
    refiner = Refiner(arguments.cache, options, start, extra)
    before = refiner.resume(run) if (run / "checkpoint.pt").exists() else 0.0
    stated = json.dumps({**vars(options), **extra, "grid": True}, indent=1)
    (run / "options.json").write_text(stated)
    refiner.run(run, before, arguments.every)
    if arguments.shares:
        mixed = run / "mixed"
        mixed.mkdir(exist_ok=True)
        state = mix(start, torch.load(run / "weights.pt"), *arguments.shares)
        refiner.model.load_state_dict(state)
        refiner.averages = [parameter.detach().clone() for parameter in refiner.trained]
        print(json.dumps({"shares": arguments.shares, **refiner.validate()}), flush=True)
        torch.save(state, mixed / "weights.pt")
        (mixed / "options.json").write_text(stated)


if __name__ == "__main__":
    main()
