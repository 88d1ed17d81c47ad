r"""Blend the weights of two runs, one started from the other, and judge them on validation.

    PYTHONPATH=scripts python -m mini.blend --cache CACHE --first RUN --second RUN2 \
        --shares 0.5 1 --run OUT

A share s means (1 - s) * first + s * second; a share above 1 goes on in the same direction. The
share with the best sum of caption recall (@1 and @10, all captions) and name accuracy (@1) is
written to OUT.
"""

import argparse
import json
from pathlib import Path

import torch

from .train import Options, Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("cache", "first", "second", "run"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    parser.add_argument("--shares", type=float, nargs="+", required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    options = json.loads((arguments.second / "options.json").read_text())
    trainer = Trainer(arguments.cache, Options(**options))
    first = torch.load(arguments.first / "weights.pt")
    second = torch.load(arguments.second / "weights.pt")
    arguments.run.mkdir(parents=True, exist_ok=True)
    best = -1.0
    for share in arguments.shares:
        blended = {name: torch.lerp(first[name], second[name], share) for name in first}
        trainer.model.load_state_dict(blended)
        trainer.averages = [parameter.detach().clone() for parameter in trainer.trained]
        figures = trainer.validate()
        score = (
            figures["all_captions"]["@1"] + figures["all_captions"]["@10"] + figures["names"]["@1"]
        )
        print(json.dumps({"share": share, "score": round(score, 1), **figures}), flush=True)
        if score > best:
            best = score
            torch.save(blended, arguments.run / "weights.pt")
            (arguments.run / "options.json").write_text(json.dumps({**options, "share": share}))


if __name__ == "__main__":
    main()
