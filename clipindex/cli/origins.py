"""Where the value of an option was written: on the command line, in the environment, or in the
configuration file. An error about a value blames that place."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

import typer

from clipindex.cli.values import names_a_thing
from clipindex.cli.words import quotes
from clipindex.errors import ClipIndexError, UsageError

CONFIG_FILE = "clipindex.config_file"  # in a context's `meta`: the configuration file in use
NAMED = r"--[a-z][a-z-]*"  # an option, in a message

E = TypeVar("E", bound=ClipIndexError)


def checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """A `parser` for typer: the text itself, once `parse` has taken it.

    So an option is judged while it is known where its value was written, before anything is done.
    """

    @wraps(parse)
    def check(text: str) -> str:
        try:
            parse(text)
        except UsageError as error:
            raise typer.BadParameter(error.message) from error
        return text

    return check


def usage_error(error: Any) -> UsageError:
    """click's usage error as ours: it names what is wrong and where that was written."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    command = context.command_path if context is not None else "clipindex"
    message = error.format_message().rstrip(".")
    message = message[:1].lower() + message[1:]
    hint = f"'{command} --help' lists what it takes"
    if getattr(error, "option_name", ""):  # there is no such option
        hint += "; what begins with '-' and is no option stands after --"
    if context is None or parameter is None or not error.message:
        return UsageError(message, hint=hint)
    own = error.__cause__.hint if isinstance(error.__cause__, UsageError) else ""
    path = ""
    if _source(context, parameter) == "DEFAULT_MAP":
        path = context.meta[CONFIG_FILE]
        hint = "correct the file, or override it on the command line"
    elif _source(context, parameter) == "ENVIRONMENT":
        hint = "correct the variable, or override it on the command line"
    elif own:
        hint, own = own, ""
    where = _place(context, parameter) or _name(parameter)
    return UsageError(
        f"{where}: {_plain(error.message)}", path=path, hint=f"{own}; {hint}" if own else hint
    )


def with_origins(error: E, context: Any) -> E:
    """The error of a command; its hint says which options it is about that were not typed.

    It is about an option that it names, and about one whose path, name or URL it quotes.
    """
    places = list(_places(error, context)) if context is not None else []
    if not places:
        return error
    explained = copy.copy(error)
    explained.hint = "; ".join(filter(None, (error.hint, *places)))
    return explained


def _places(error: ClipIndexError, context: Any) -> Iterator[str]:
    named = set(re.findall(NAMED, f"{error.message} {error.hint}"))
    for parameter in context.command.params:
        place = _place(context, parameter)
        value = context.params.get(parameter.name)
        if not place or value in (None, (), []):
            continue
        values = map(str, value if isinstance(value, list | tuple) else [value])
        is_subject = names_a_thing(parameter.metavar or "") and any(
            _is_about(error, text, parameter.name.endswith("store")) for text in values
        )
        if is_subject or _name(parameter) in named:
            if _source(context, parameter) == "DEFAULT_MAP":
                place += f" ({context.meta[CONFIG_FILE]})"
            yield f"{place} sets {_name(parameter)}"


def _is_about(error: ClipIndexError, value: str, is_store: bool) -> bool:
    """Whether an error is about a path, name or URL; about a store also where it is about a file
    in it."""
    if quotes(error.message, value) or error.path == value:
        return True
    path, place = os.path.abspath(error.path), os.path.abspath(value)
    inside = is_store and path.startswith(os.path.join(place, ""))
    return bool(error.path) and (path == place or inside)


def _place(context: Any, parameter: Any) -> str:
    """The place of an option's value in words; empty for the command line and for a default."""
    source = _source(context, parameter)
    if source == "DEFAULT_MAP":
        return f"the configuration file's '{parameter.name}'"
    return f"the environment's {parameter.envvar}" if source == "ENVIRONMENT" else ""


def _source(context: Any, parameter: Any) -> str:
    return str(getattr(context.get_parameter_source(parameter.name), "name", ""))


def _name(parameter: Any) -> str:
    """An option or argument as it is typed."""
    if parameter.param_type_name == "option":
        return str(max((*parameter.opts, *parameter.secondary_opts), key=len))
    return parameter.metavar or ""


def _plain(words: str) -> str:
    """click's message about a value, in plain words."""
    words = re.sub(r"(\S+)<=x<=(\S+?)\.?$", r"\1 to \2", words.rstrip("."))
    words = re.sub(r"a valid int(eger)?( range)?\b", "a whole number", words)
    words = re.sub(r"a valid float( range)?\b", "a number", words)
    return words.partition(". Recognized values")[0]
