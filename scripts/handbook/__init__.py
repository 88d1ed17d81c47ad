"""README and docs as a program: every command runs, every output and picture is made by a run.

    PYTHONPATH=scripts python -m handbook.render

runs the commands of README.md, docs/*.md and CONTRIBUTING.md in a fresh home, writes their real
output below them, and draws docs/terminal.svg and docs/speed.svg again. tests/test_docs.py runs the
same commands and compares.
"""
