"""`clipindex mcp`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from clipindex.cli import options
from clipindex.cli.session import Session, command
from clipindex.errors import UsageError
from clipindex.model.providers import Provider


@command()
def mcp(
    session: Session, model: options.Model = None, provider: options.Provider = Provider.AUTO
) -> None:
    """Let an agent search: a server of the Model Context Protocol on standard input and output.

    The agent's program starts it and ends it. It offers four tools: `search`, `similar`, `look`
    (shows a picture) and `status`. They only read, and only pictures of the index. Errors and
    notes go to standard error.

        clipindex mcp
        clipindex mcp --store ./index
    """
    if find_spec("mcp") is None:
        raise UsageError(
            "the server for agents needs a library that is not installed",
            hint="install it: pip install 'clipindex[mcp]'",
        )
    from clipindex.serve.agents import run
    from clipindex.serve.options import ServeOptions

    if sys.stdin is None or sys.stdout is None:
        raise UsageError(
            "standard input or output is closed, and an agent's program speaks through them",
            hint="let that program start clipindex mcp",
        )
    if sys.stdin.isatty():
        session.output.say("Waiting for an agent's program on standard input (Ctrl-C ends it)")
    index = session.index(model=model, provider=provider)
    run(index, ServeOptions(provider=provider))
