"""`clipindex schedule`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from clipindex.cli.origins import checked
from clipindex.cli.schedule import (
    Job,
    crontab_line,
    parse_at,
    service_text,
    timer_text,
    with_line,
    without_line,
)
from clipindex.cli.session import Session, command
from clipindex.collection.names import DEFAULT_COLLECTION
from clipindex.errors import ClipIndexError, UsageError
from clipindex.files.durable import disk_errors, write_durably
from clipindex.files.user_folders import config_folder, expand_user, state_folder

HOW = "How"


class Form(StrEnum):
    """Who starts the run."""

    SYSTEMD = "systemd"
    CRON = "cron"


def _check_name(name: str) -> None:
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise UsageError(f"'{name}' has other characters than letters, digits, - and _")


@command()
def schedule(
    session: Session,
    reindex_options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- OPTION]...",
            help="Options of `reindex` for the nightly run, after two dashes.",
            show_default=False,
            rich_help_panel=HOW,
        ),
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            metavar="HH:MM",
            parser=checked(parse_at),
            help="Time of day.",
            rich_help_panel=HOW,
        ),
    ] = "03:00",
    form: Annotated[
        Form | None,
        typer.Option(
            "--as",
            help="A systemd user timer or a line of the crontab. Default: systemd where it runs.",
            show_default=False,
            rich_help_panel=HOW,
        ),
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            parser=checked(_check_name),
            help="Name of the timer; another one for each collection.",
            rich_help_panel=HOW,
        ),
    ] = "clipindex",
    install: Annotated[
        bool, typer.Option("--install", help="Install it for this user.", rich_help_panel=HOW)
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove it again.", rich_help_panel=HOW)
    ] = False,
) -> None:
    """Print, or install, what runs `reindex` every night.

    The program, the store and the log are written with their full paths: cron and systemd know
    neither your PATH nor your current folder. Without --install nothing is changed.

        clipindex schedule
        clipindex schedule --at 02:30 --install -- --max-duration 4h
        clipindex schedule --as cron --store /mnt/nas/index --install
        clipindex schedule --remove
    """
    if install and remove:
        raise UsageError("--install and --remove exclude each other", hint="give one of them")
    form = form or (Form.SYSTEMD if os.path.isdir("/run/systemd/system") else Form.CRON)
    if remove:
        _remove(form, name, session)
        return
    options = reindex_options or []
    _check(session.context, options)
    key = _key_file() if session.server is not None and session.server.key else None
    job = Job(name=name, line=_line(session, options), at=parse_at(at), environment=key)
    if install:
        _install(form, job, session)
    else:
        _show(form, job, session)
    if key is not None:
        session.output.note(f"the key is read from {key}: write CLIPINDEX_API_KEY=... into it")
    if not install:
        session.output.say("to install it, give --install too")


def _show(form: Form, job: Job, session: Session) -> None:
    texts = {"crontab": crontab_line(job)}
    if form is Form.SYSTEMD:
        texts = {str(path): text for path, text in _units(job).items()}
    if session.output.json:
        session.output.record({"type": "schedule", "as": form.value, "line": job.line, **texts})
        return
    for name, text in texts.items():
        for line in ([f"# {name}"] if form is Form.SYSTEMD else []) + text.split("\n"):
            session.output.result(line)


def _check(context: typer.Context, options: list[str]) -> None:
    """Raises UsageError for options that `reindex` does not take: cron would tell at night."""
    program: Any = context.find_root().command
    program.commands["reindex"].make_context("clipindex reindex", list(options))


def _line(session: Session, options: list[str]) -> list[str]:
    line = [*_program(), "reindex", "--quiet"]
    if session.server is not None:
        line += ["--url", session.server.url]
    else:
        line += ["--store", session.place().name]
    if session.collection != DEFAULT_COLLECTION:
        line += ["--collection", session.collection]
    if session.source is not None:
        line += ["--source", session.source]
    config = session.context.params.get("config")
    if config is not None:
        line += ["--config", os.path.abspath(expand_user(config))]
    log = session.output.log_file
    if "--log-file" not in options:
        line += [
            "--log-file",
            str(log.path.absolute() if log else state_folder() / "clipindex.log"),
        ]
    return [*line, *options]


def _program() -> list[str]:
    """The full path of this very program."""
    started = shutil.which(sys.argv[0]) if os.sep not in sys.argv[0] else sys.argv[0]
    if started and os.access(started, os.X_OK) and Path(started).stem == "clipindex":
        return [os.path.abspath(started)]
    return [sys.executable, "-m", "clipindex"]


def _key_file() -> Path:
    folder = config_folder()
    if folder is None:
        raise UsageError("this user has no home folder for the key", hint="set HOME to a folder")
    return folder / "environment"


# --- systemd and cron ----------------------------------------------------------------------------


def _units(job: Job) -> dict[Path, str]:
    folder = _unit_folder()
    return {
        folder / f"{job.name}.service": service_text(job),
        folder / f"{job.name}.timer": timer_text(job),
    }


def _unit_folder() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if os.path.isabs(home) else expand_user(Path("~/.config"))) / "systemd/user"


def _install(form: Form, job: Job, session: Session) -> None:
    log = state_folder()
    with disk_errors(log, "the log's folder cannot be created"):
        log.mkdir(parents=True, exist_ok=True)
    if form is Form.CRON:
        _write_crontab(with_line(_crontab(), job))
        session.output.say(f"installed in the crontab: {crontab_line(job)}")
        return
    for path, text in _units(job).items():
        with disk_errors(path, "the unit cannot be written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, text.encode("utf-8", "surrogateescape"))
    try:
        _run("systemctl", "--user", "daemon-reload")
        _run("systemctl", "--user", "enable", "--now", f"{job.name}.timer")
    except ClipIndexError:
        for path in _units(job):
            path.unlink(missing_ok=True)
        raise
    session.output.say(f"installed: {job.name}.timer, every day at {job.at}")
    session.output.say("  it runs while you are logged in; always: loginctl enable-linger")


def _remove(form: Form, name: str, session: Session) -> None:
    if form is Form.CRON:
        before = _crontab()
        after = without_line(before, name)
        if after == before:
            raise UsageError(f"the crontab has no line of '{name}'")
        _write_crontab(after)
    else:
        units = [_unit_folder() / f"{name}{kind}" for kind in (".timer", ".service")]
        if not any(unit.exists() for unit in units):
            raise UsageError(f"no timer '{name}' is installed", path=str(units[0]))
        _run("systemctl", "--user", "disable", "--now", f"{name}.timer")
        for unit in units:
            unit.unlink(missing_ok=True)
    session.output.say(f"removed: {name}")


def _crontab() -> str:
    """The user's crontab, empty where there is none."""
    done = _started("crontab", "-l")
    return done.stdout if done.returncode == 0 else ""


def _write_crontab(text: str) -> None:
    done = _started("crontab", "-", standard_input=text)
    if done.returncode:
        raise ClipIndexError(f"crontab refused the new table: {done.stderr.strip()}")


def _run(*line: str) -> None:
    done = _started(*line)
    if done.returncode:
        raise ClipIndexError(
            f"'{' '.join(line)}' failed: {done.stderr.strip()}",
            hint="is this a login session with systemd? Otherwise use --as cron",
        )


def _started(*line: str, standard_input: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            line, input=standard_input, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise ClipIndexError(
            f"'{line[0]}' cannot be started: {error.strerror}",
            hint="choose the other one with --as: systemd or cron",
        ) from error
