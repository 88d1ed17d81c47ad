"""Where each setting comes from: the command line, the environment, the configuration file.

Also where they are broken: the doctor lists them all, each with what is wrong with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from clipindex.cli import config
from clipindex.cli.origins import usage_error
from clipindex.cli.values import API_KEY
from clipindex.errors import UsageError

TOLERANT = "doctor"  # takes any value; of the others, which judge theirs, the last one counts
ALWAYS = ("store", "url", "collection", "source", "model", "config")  # also by default


@dataclass(frozen=True, slots=True)
class Setting:
    """An option's value, where it was found, and what is wrong with it."""

    name: str  # as on the command line, without the dashes; `[ingest] workers` for one command
    value: str
    origin: str
    fault: str = ""
    hint: str = ""


def settings_of(context: typer.Context) -> Iterator[Setting]:
    """Every setting that is not a default, for all commands, and a few that are.

    Nearest first: what an option of the command line says, the environment does not.
    """
    commands = context.find_root().command.commands  # type: ignore[attr-defined]
    parameters = {  # by their variables: `ingest --limit` and `query --limit` have one each
        (parameter.name, parameter.envvar): parameter
        for name in sorted(commands, key=TOLERANT.__ne__)
        for parameter in commands[name].params
    }
    from_file = dict(_from_file(context, commands))
    told: set[str] = set()
    for (name, variable), parameter in sorted(
        parameters.items(), key=lambda pair: _place(*pair[0])
    ):
        if variable and os.environ.get(variable) and _typed(context, name) is None:
            told.add(name)
            yield _from_environment(context, parameter)
        elif name not in told:
            setting = _typed(context, name) or from_file.pop(name, None)
            if setting is None and name in ALWAYS:
                setting = Setting(_spelled(name), str(parameter.default or "not set"), "default")
            if setting is not None:
                told.add(name)
                yield setting
    yield from from_file.values()
    if os.environ.get(API_KEY):
        yield Setting("api-key", "(set)", f"environment, {API_KEY}")


def _place(name: str, variable: str | None) -> tuple[int, str, str]:
    place = ALWAYS.index(name) if name in ALWAYS else len(ALWAYS)
    return place, name, variable or ""


def _spelled(name: str) -> str:
    return name.replace("_", "-")


def _typed(context: typer.Context, name: str) -> Setting | None:
    source = context.get_parameter_source(name)
    if source is None or source.name != "COMMANDLINE" or name not in context.params:
        return None
    return Setting(_spelled(name), str(context.params[name]), "command line")


def _from_environment(context: typer.Context, parameter: Any) -> Setting:
    text = os.environ[parameter.envvar]
    origin = f"environment, {parameter.envvar}"
    fault = _fault(context, parameter, text)
    hint = "correct the variable, or unset it" if fault else ""
    return Setting(_spelled(parameter.name), text, origin, fault, hint)


def _fault(context: typer.Context, parameter: Any, value: object) -> str:
    """Why a parameter does not take a value; empty where it does."""
    try:
        parameter.type_cast_value(context, value)
    except typer.BadParameter as error:
        return usage_error(error).message
    return ""


def _from_file(
    context: typer.Context, commands: Mapping[str, Any]
) -> Iterator[tuple[str, Setting]]:
    """What the configuration file sets, and what is wrong with it, under the names of options."""
    path = context.params.get("config")
    try:
        configuration = config.read(path)
    except UsageError as error:
        yield "configuration file", _broken(error)
        return
    if configuration is None:
        return
    yield "configuration file", Setting("configuration file", str(configuration.file), "read")
    for command in commands:
        options = {parameter.name: parameter for parameter in commands[command].params}
        try:
            own = config.defaults_for(
                configuration,
                command,
                commands,
                lambda name: {p.name for p in commands[name].params} - {"config"},
            )
        except UsageError as error:
            yield "configuration file", _broken(error)
            return
        for name, value in own.items():
            fault = _fault(context, options[name], value)
            in_table = name in _table(configuration, command)
            key = f"[{command}] {_spelled(name)}" if in_table else name
            origin = f"configuration file, {configuration.file}"
            hint = "correct the file" if fault else ""
            yield key, Setting(key.replace("_", "-"), str(value), origin, fault, hint)


def _table(configuration: config.Configuration, command: str) -> set[str]:
    table = configuration.values.get(command)
    return {name.replace("-", "_") for name in table} if isinstance(table, dict) else set()


def _broken(error: UsageError) -> Setting:
    return Setting("configuration file", error.path, "read", error.message, error.hint)
