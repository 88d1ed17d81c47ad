"""The three shells: the script that asks us, how the answer is written, where the script lies."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clipindex.cli.completion.candidates import Candidate, candidates
from clipindex.errors import UsageError
from clipindex.files.durable import write_durably
from clipindex.files.user_folders import data_folder

SHELLS = ("bash", "zsh", "fish")
THIS_SHELL = "auto"
LONGEST_MEANING = 70

BASH = r"""# Completion of clipindex for bash.
_clipindex() {
    local IFS=$'\n'
    COMPREPLY=($(_CLIPINDEX_COMPLETE=bash clipindex "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi
}
complete -o default -F _clipindex clipindex
"""
ZSH = r"""#compdef clipindex
# Completion of clipindex for zsh.
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u }
_clipindex() {
    local -a lines open
    lines=("${(@f)$(_CLIPINDEX_COMPLETE=zsh clipindex "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -z ${lines[1]} ]]; then _files; return; fi
    open=("${(@M)lines:#*=:*}")
    lines=("${(@)lines:#*=:*}")
    (( ${#open} )) && _describe clipindex open -S ''
    (( ${#lines} )) && _describe clipindex lines
}
compdef _clipindex clipindex
"""
FISH = r"""# Completion of clipindex for fish.
function __clipindex_complete
    set -l typed (commandline -opc)
    set -l found (_CLIPINDEX_COMPLETE=fish clipindex $typed[2..-1] (commandline -ct) 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c clipindex -f -a '(__clipindex_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def answer(commands: Mapping[str, Any], shell: str, words: Sequence[str]) -> str:
    """What a script of ours is told, a candidate a line. Whatever goes wrong, it is told nothing:
    a completion that speaks would write into the line that is being typed."""
    try:
        typed = _joined(words) if shell == "bash" else list(words)
        known = candidates(commands, typed)
    except Exception:
        return ""
    if shell == "bash":
        return "".join(f"{line}\n" for line in _for_bash(known, typed[-1] if typed else ""))
    separator = "\t" if shell == "fish" else ":"
    lines = []
    for word, meaning in known:
        shown = word.replace("\\", "\\\\").replace(":", "\\:") if shell == "zsh" else word
        lines.append(f"{shown}{separator}{_short(meaning)}\n")
    return "".join(lines)


def _joined(words: Sequence[str]) -> list[str]:
    """Bash parts words at = and :, and leaves quotes and backslashes in them."""
    joined: list[str] = []
    glued = False
    for word in words:
        is_break = word in ("=", ":")
        if joined and (is_break or glued):
            joined[-1] += word
        else:
            joined.append(word)
        glued = is_break
    return [os.path.expanduser(re.sub(r"""\\(.)|["']""", r"\1", word)) for word in joined]


def _for_bash(known: Sequence[Candidate], typed: str) -> Iterator[str]:
    """The part of each word that takes the place of what follows the last break, quoted."""
    start = max(typed.rfind("="), typed.rfind(":")) + 1
    for word, _ in known:
        yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", word[start:])


def _short(meaning: str) -> str:
    words = " ".join(meaning.split())
    first = re.split(r"(?<=\w)[.:](?: |$)", words)[0]
    return first if len(first) <= LONGEST_MEANING else first[: LONGEST_MEANING - 3] + "..."


def shell_named(name: str) -> str:
    """The shell of this name; with `auto` that of the user. Raises UsageError for another."""
    own = os.path.basename(os.environ.get("SHELL", ""))
    shell = own if name == THIS_SHELL else name
    if shell not in SHELLS:
        what = f"'{shell}' has no completion" if shell else "which shell is not known"
        raise UsageError(f"{what}", hint="name one: --install-completion bash, zsh or fish")
    return shell


def install(shell: str) -> list[Path]:
    """Write the script, and have the shell read it at its start; returns the files written.
    A second time changes nothing. Raises UsageError where a file cannot be written."""
    home = Path(os.path.expanduser("~"))
    if shell == "fish":
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        return [_written(config / "fish" / "completions" / "clipindex.fish", FISH)]
    script = _written(data_folder() / f"completion.{shell}", SCRIPTS[shell])
    folder = Path(os.environ.get("ZDOTDIR") or home) if shell == "zsh" else home
    start = folder / f".{shell}rc"
    try:
        before = start.read_text("utf-8", "surrogateescape") if start.exists() else ""
    except OSError as error:
        raise _unwritable(start, error) from error
    line = f"[ -r '{script}' ] && . '{script}'  # completion of clipindex"
    if line in before:
        return [script]
    separator = "" if not before or before.endswith("\n") else "\n"
    return [script, _written(start, f"{before}{separator}{line}\n")]


def _written(path: Path, text: str) -> Path:
    try:
        target = path.resolve()  # a link to where dot files are kept stays one
        target.parent.mkdir(parents=True, exist_ok=True)
        write_durably(target, text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"the file cannot be written: {error.strerror}",
        path=str(path),
        hint="put what --show-completion prints where your shell reads it",
    )


def write_answer(commands: Mapping[str, Any], shell: str) -> None:
    """Answer the script that started this process."""
    sys.stdout.write(answer(commands, shell, sys.argv[1:]))
