"""`clipindex serve`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipindex.cli import options, values
from clipindex.cli.session import Session, command
from clipindex.errors import UsageError
from clipindex.model.providers import Provider

if TYPE_CHECKING:
    from clipindex.serve.guard.tokens import Tokens

LISTEN = "Address"
SAFETY = "Safety"
UPLOADS = "Uploads"
LIMITS = "Limits"
NEEDED = ("starlette", "uvicorn", "python_multipart")


@command()
def serve(
    session: Session,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            envvar="CLIPINDEX_HOST",
            help="The address to listen at. Any but this machine's own needs a token.",
            rich_help_panel=LISTEN,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65_535,
            metavar="N",
            envvar="CLIPINDEX_PORT",
            help="The port; 0 takes any that is free.",
            rich_help_panel=LISTEN,
        ),
    ] = 8420,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A further name by which the service is called, such as that of a proxy before "
            "it. Repeatable.",
            show_default=False,
            rich_help_panel=LISTEN,
        ),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="CLIPINDEX_TOKENS",
            help="A TOML file of tokens: who has none of them is not answered. A single token is "
            "read from the environment: CLIPINDEX_TOKEN.",
            show_default=False,
            rich_help_panel=SAFETY,
        ),
    ] = None,
    allow_fetch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="Let a search name a picture on this host by its URL; HOST:PORT for another port. "
            "Repeatable. A private address must be named itself.",
            show_default=False,
            rich_help_panel=SAFETY,
        ),
    ] = None,
    uploads: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            envvar="CLIPINDEX_UPLOADS",
            help="Index pictures that are sent, and keep them in this folder. Needs a token that "
            "may write, where there are tokens: CLIPINDEX_WRITE_TOKEN in the environment, or "
            "`write = true` in the file of tokens.",
            show_default=False,
            rich_help_panel=UPLOADS,
        ),
    ] = None,
    max_request: Annotated[
        int,
        typer.Option(
            min=1,
            max=1024,
            metavar="MIB",
            help="The largest request, its pictures included.",
            rich_help_panel=LIMITS,
        ),
    ] = 32,
    max_pixels: Annotated[
        int,
        typer.Option(
            min=1,
            max=178,
            metavar="N",
            help="The largest picture of a request, in megapixels.",
            rich_help_panel=LIMITS,
        ),
    ] = 100,
    max_seconds: Annotated[
        int,
        typer.Option(
            min=1,
            max=3600,
            metavar="SECONDS",
            help="How long a request may take, from its first byte to the last of its answer.",
            rich_help_panel=LIMITS,
        ),
    ] = 30,
    max_waiting: Annotated[
        int,
        typer.Option(
            min=1,
            max=10_000,
            metavar="N",
            help="How many requests may wait for a processor; one more is told to come again.",
            rich_help_panel=LIMITS,
        ),
    ] = 64,
    max_connections: Annotated[
        int,
        typer.Option(
            min=1,
            max=10_000,
            metavar="N",
            help="How many connections may be open.",
            rich_help_panel=LIMITS,
        ),
    ] = 100,
    model: options.Model = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            metavar="NAME|FOLDER",
            help="A further model that embeds, beside the collection's own, such as a "
            "vision-language model. Repeatable.",
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    provider: options.Provider = Provider.AUTO,
) -> None:
    """Answer searches over HTTP: with a page for people, with JSON for programs. Programs can also
    embed texts and pictures, in OpenAI's API.

    The model is loaded once. Nothing is written to the index, unless programs may send pictures
    (--uploads). While another command writes to it, searches go on. Ctrl-C or SIGTERM ends the
    service once the requests in flight are answered. It speaks plain HTTP: whoever lets other
    machines in puts a proxy with TLS before it.

        clipindex serve
        clipindex serve --also ./smolvlm2
        clipindex serve --uploads ~/uploads
        clipindex serve --host 0.0.0.0 --tokens tokens.toml --allow-host photos.example.org
    """
    if any(find_spec(name) is None for name in NEEDED):
        raise UsageError(
            "the service needs libraries that are not installed",
            hint="install them: pip install 'clipindex[serve]'",
        )
    from clipindex.serve.guard.tokens import read_tokens
    from clipindex.serve.options import Limits, ServeOptions
    from clipindex.serve.running import run
    from clipindex.serve.service import Service

    environ = os.environ
    known = read_tokens(tokens, environ.get(values.TOKEN), environ.get(values.WRITE_TOKEN))
    _check_address(session, host, known)
    if uploads is not None and known and not known.may_write:
        raise UsageError(
            "no token may write, so nobody could send a picture",
            hint="set CLIPINDEX_WRITE_TOKEN to one (openssl rand -hex 32), or put `write = true` "
            "to one in the file of tokens",
        )
    wanted = ServeOptions(
        host=host,
        port=port,
        hosts=tuple(allow_host or ()),
        fetch_from=tuple(allow_fetch or ()),
        tokens=known,
        models=tuple(also or ()),
        provider=provider,
        uploads=uploads,
        limits=Limits(
            body=max_request << 20,
            pixels=max_pixels * 1_000_000,
            seconds=max_seconds,
            waiting=max_waiting,
            connections=max_connections,
        ),
    )

    def ready(url: str) -> None:
        if session.output.json:
            session.output.record({"type": "serving", "url": url})
        else:
            session.output.say(f"Serving on {url} (Ctrl-C ends it)")

    index = session.index(model=model, provider=provider)
    with Service(index, wanted, session.output.event) as service:
        run(service, ready)


def _check_address(session: Session, host: str, tokens: Tokens) -> None:
    from clipindex.serve.guard.origins import is_loopback

    if is_loopback(host):
        return
    if not tokens:
        raise UsageError(
            f"without a token nobody else may ask: {host} can be reached from other machines",
            hint="set CLIPINDEX_TOKEN to one (openssl rand -hex 32), or name a file of tokens "
            "with --tokens",
        )
    session.output.note("it speaks plain HTTP: put a proxy with TLS before it")
