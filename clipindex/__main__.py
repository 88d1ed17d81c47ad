"""`python -m clipindex` is `clipindex`."""

from clipindex.cli import main

main()
