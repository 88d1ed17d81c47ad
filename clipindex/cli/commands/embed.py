"""`clipindex embed`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipindex.cli import options
from clipindex.cli.session import Session, command
from clipindex.errors import UsageError

if TYPE_CHECKING:
    from clipindex.model.merged import Sequences

WHAT = "What to embed"
MERGED = "Vision-language models"


class Kind(StrEnum):
    """What is made of the hidden states of a vision-language model."""

    MEAN = "mean"
    CLS = "cls"
    MULTI_LAYER = "multi_layer"
    LAST_LAYER = "last_layer"


class Padding(StrEnum):
    """To which length sequences are filled."""

    LONGEST = "longest"
    MAX_LENGTH = "max_length"


@command(without=("store", "url", "collection", "source", "timeout"))
def embed(
    session: Session,
    terms: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TERM]...",
            help="A text, or the path of a picture; each gets an embedding. '-' reads a text or a "
            "picture's bytes from standard input.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="A picture, whatever its name looks like. Repeatable.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="A text, even if a file has that name. Repeatable.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    together: Annotated[
        bool,
        typer.Option(
            "--together",
            help="One embedding of one text and one picture: in one sequence with a "
            "vision-language model, otherwise the sum of both vectors.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAME|FOLDER",
            envvar="CLIPINDEX_MODEL",
            help="Name of a model, or the folder of a bundle.",
            rich_help_panel=options.MODEL,
        ),
    ] = "mini",
    embedding_type: Annotated[
        Kind | None,
        typer.Option(
            "--embedding-type",
            help="mean: over all tokens. cls: the last token that is not padding, as the decoder "
            "is causal and its first token sees only itself. multi_layer: the mean of the last "
            "four layers at that token. last_layer: every token's state. Default: the pooling of "
            "the bundle.",
            show_default=False,
            rich_help_panel=MERGED,
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            min=1,
            max=65_536,
            metavar="TOKENS",
            help="Longest sequence, the picture's tokens included. Default: the model's, at most "
            "512.",
            show_default=False,
            rich_help_panel=MERGED,
        ),
    ] = None,
    padding: Annotated[
        Padding | None,
        typer.Option(
            help="longest: fill to the longest of a batch (the default). max_length: to "
            "--max-length. It changes no vector, only the length of last_layer.",
            show_default=False,
            rich_help_panel=MERGED,
        ),
    ] = None,
    no_truncation: Annotated[
        bool,
        typer.Option(
            "--no-truncation",
            help="Refuse a text that is too long instead of cutting it.",
            rich_help_panel=MERGED,
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.npy",
            help="Write the embeddings as one NumPy array, float32, a row for each term in their "
            "order, instead of printing them.",
            show_default=False,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
) -> None:
    """Print the embeddings of texts and pictures, as JSON lines or as a NumPy file.

    Vectors have length 1, as ingest stores them and query compares them. No collection is needed.

        clipindex embed "a dog on a beach"
        clipindex embed cat.jpg dog.jpg --output vectors.npy
        clipindex embed "what is on the table?" table.jpg --together --model ./smolvlm2
    """
    from clipindex.cli.embeddings import read_items, show, write
    from clipindex.model.bundle import find_bundle
    from clipindex.model.loading import open_model
    from clipindex.model.merged import EmbeddingType
    from clipindex.pictures.preprocessing import Preprocessing
    from clipindex.search.embedding import embed as embedded

    if output is not None and output.suffix != ".npy":
        raise UsageError("--output names a .npy file", path=str(output), hint="name FILE.npy")
    items = read_items(terms or (), image or (), text or (), together=together)
    encoder = open_model(find_bundle(model))
    made = embedded(
        items,
        encoder,
        Preprocessing.DCT_SCALED,
        kind=None if embedding_type is None else EmbeddingType(embedding_type),
        sequences=_sequences(max_length, padding, no_truncation),
    )
    if output is None:
        show(made, encoder.bundle, embedding_type, session.output)
    else:
        write(made, output, session.output)


def _sequences(
    max_length: int | None, padding: Padding | None, no_truncation: bool
) -> Sequences | None:
    """None where nothing was asked for."""
    from clipindex.model.merged import Sequences

    if max_length is None and padding is None and not no_truncation:
        return None
    return Sequences(
        max_length=max_length,
        truncation=not no_truncation,
        padding="max_length" if padding is Padding.MAX_LENGTH else "longest",
    )
