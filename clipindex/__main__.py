"""The `clipindex` command, and `python -m clipindex`."""

import os
from typing import NoReturn


def main() -> NoReturn:
    """Entry point. Ctrl-C while the command line is imported ends without a traceback, too."""
    try:
        from clipindex.cli import app  # here: the import itself can be interrupted
    except KeyboardInterrupt:
        os._exit(130)  # as `ExitCode.INTERRUPTED`, which may not be imported yet
    app.main()


if __name__ == "__main__":
    main()
