"""`clipindex serve`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from clipindex.cli import options
from clipindex.cli.session import Session, command
from clipindex.errors import UsageError
from clipindex.model.providers import Provider

LISTEN = "Address"
NEEDED = ("starlette", "uvicorn", "python_multipart")


@command(without=("source",))
def serve(
    session: Session,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            envvar="CLIPINDEX_HOST",
            help="The address to listen at.",
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
    model: options.Model = None,
    provider: options.Provider = Provider.AUTO,
) -> None:
    """Answer searches over HTTP: with a page for people, with JSON for programs.

    The model is loaded once. Ctrl-C or SIGTERM ends it, once the requests in flight are answered.

        clipindex serve
        clipindex serve --port 9000
    """
    if any(find_spec(name) is None for name in NEEDED):
        raise UsageError(
            "the service needs libraries that are not installed",
            hint="install them: pip install 'clipindex[serve]'",
        )
    from clipindex.serve.options import ServeOptions
    from clipindex.serve.running import run
    from clipindex.serve.service import Service

    def ready(url: str) -> None:
        if session.output.json:
            session.output.record({"type": "serving", "url": url})
        else:
            session.output.say(f"Serving on {url} (Ctrl-C ends it)")

    index = session.index(model=model, provider=provider)
    with Service(index, ServeOptions(host=host, port=port)) as service:
        run(service, ready)
