"""The roofline's run: the pipeline's decoding and inference alone, as a process of its own.

    python -m benchmarks.roof LIST BUNDLE [--provider NAME]

No catalogue, no hashing, no queue, no store: each core reads, decodes and embeds its share of
the files in batches. Its CPU, spread over the cores, is what the whole program's wall is held to.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from clipindex.ingest.cores import usable_cores
from clipindex.model.bundle import open_bundle
from clipindex.model.encoder import Model
from clipindex.model.providers import Provider
from clipindex.pictures.decode import decode
from clipindex.pictures.preprocessing import Preprocessing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("list", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--provider", type=Provider, default=Provider.AUTO)
    options = parser.parse_args()
    files = options.list.read_text("utf-8").splitlines()
    model = Model(open_bundle(options.bundle), options.provider)
    model.load(usable_cores())
    geometry = model.bundle.image.geometry
    shared = iter(files)

    def work(_: int) -> None:
        batch = []
        for path in shared:  # the interpreter's lock makes each step whole
            batch.append(decode(Path(path).read_bytes(), geometry, Preprocessing.DCT_SCALED)[0])
            if len(batch) == model.batch:
                model.encode_images(np.stack(batch))
                batch.clear()
        if batch:
            model.encode_images(np.stack(batch))

    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(work, range(usable_cores())))


if __name__ == "__main__":
    main()
