"""`clipindex.Index`: all that the command line does, for Python. Each method only delegates."""

from clipindex.index.index import Index

__all__ = ["Index"]
