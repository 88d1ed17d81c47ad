"""The `clipindex` command, and `python -m clipindex`."""

import os

try:
    from clipindex.cli.app import main
except KeyboardInterrupt:  # Ctrl-C in the first tenth of a second: no traceback then either
    os._exit(130)

if __name__ == "__main__":
    main()
