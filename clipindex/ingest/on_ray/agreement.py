"""What every actor of a run must hold, compared before its first slice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from clipindex.collection.contract import Contract, StoredContract
from clipindex.collection.label import LabelledPoints
from clipindex.collection.own_bundle import bundle_for
from clipindex.collection.server_place import ServerPlace
from clipindex.errors import ClipIndexError, ContractMismatch, StoreError
from clipindex.ingest.scope import Scope
from clipindex.model.encoder import Encoder
from clipindex.model.loading import open_model
from clipindex.model.providers import Provider
from clipindex.pictures.decode import decoders, library_versions
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.stores.points import Points
from clipindex.upkeep.metadata import Joiner


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the driver tells every actor of a run. `bundle` is the model's folder on its machine,
    `versions` are those of its libraries."""

    place: ServerPlace
    contract: Contract
    label: object  # of the collection, see `LabelledPoints`
    bundle: str
    versions: tuple[str, ...]
    provider: Provider
    threads: int
    scope: Scope
    joiner: Joiner
    in_full: frozenset[bytes] = frozenset()  # see `Workers`

    @property
    def source(self) -> str:
        """Whose files they are."""
        return self.place.source

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures become pixels."""
        return Preprocessing(self.contract.preprocessing)


def versions_here() -> tuple[str, ...]:
    """The libraries that decide which pictures can be read, and what their pixels are."""
    return (*decoders().split(", "), f"libjpeg {library_versions()['libjpeg']}")


def check_versions(driver: tuple[str, ...], own: tuple[str, ...], node: str) -> None:
    """Raises ContractMismatch where a node has other libraries than the driver."""
    if driver == own:
        return
    other = [name for name in own if name not in driver]
    lacking = [name for name in driver if name not in own]
    raise ContractMismatch(
        f"node {node} would read pictures otherwise: it has {', '.join(other) or 'less'}, the "
        f"machine that began the run has {', '.join(lacking) or 'less'}",
        hint="install the same versions of clipindex, its extras and Pillow on every node",
    )


def opened_on(job: Job, node: str) -> tuple[Encoder, Points]:
    """The model, verified, loaded and tried on one grey picture, and the collection's points.

    Raises ContractMismatch where versions, model or collection are others than the driver's,
    ModelError, ProviderUnavailable or StoreError where there are none: each names the node.
    """
    check_versions(job.versions, versions_here(), node)
    with named_by(node):
        encoder = open_model(
            bundle_for(StoredContract(job.contract, job.bundle, {}), None), job.provider
        )
        encoder.bundle.verify()
        encoder.load(job.threads)
        size = encoder.bundle.image.geometry.size
        encoder.encode_images(np.full((1, size, size, 3), 128, np.uint8))
        return encoder, _points(job)


@contextmanager
def named_by(node: str) -> Iterator[None]:
    """An error that ends the run says on which node it happened."""
    try:
        yield
    except ClipIndexError as error:
        error.message = f"node {node}: {error.message}"
        error.args = (error.message,)
        raise


def _points(job: Job) -> Points:
    """The points of the very collection that the driver opened, wherever its name leads by now."""
    stored = job.place.locate().require()  # is not as patient as `open` with a server out of reach
    points = job.place.open(replace(stored, contract=job.contract), create=False).points
    if not isinstance(points, LabelledPoints) or points.label != job.label:
        points.close()
        raise StoreError(
            f"{points.location} is not the collection that the run began with",
            path=job.place.name,
            hint="every node must reach the same server under this URL; or the collection was "
            "created anew meanwhile: run the same command again",
        )
    return points
