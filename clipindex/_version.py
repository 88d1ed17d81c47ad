"""The version, alone in a module so that every room can import it."""

__version__ = "0.2.0"
