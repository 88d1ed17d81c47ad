"""The commands, a module for each; `clipindex.cli.app` puts them together.

Heavy libraries are imported inside the functions, so that `--help` answers at once.
"""
