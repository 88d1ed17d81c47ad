"""The commands, a module for each group; `clipindex.cli` puts them together.

Heavy libraries are imported inside the functions, so that `--help` answers at once.
"""
