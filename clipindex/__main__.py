"""`python -m clipindex` is `clipindex`."""

from clipindex.cli.app import main

main()
