"""`clipindex models`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipindex.cli.session import Session, command
from clipindex.errors import ExitCode, ModelError, Refused, UsageError

if TYPE_CHECKING:
    from clipindex.model.installed import Installed

PANEL = "What to do"


class Action(StrEnum):
    """What to do with models."""

    LIST = "list"
    INFO = "info"
    PULL = "pull"
    PATH = "path"
    VERIFY = "verify"
    REMOVE = "remove"
    QUANTISE = "quantise"


@command(without=("url", "collection", "source", "timeout"))
def models(
    session: Session,
    action: Annotated[
        Action,
        typer.Argument(
            metavar="[ACTION]",
            help="list: the models that are known, and which are here (the default). info: all "
            "that is known of one. pull: download one. path: print its folder. verify: hash its "
            "files (without NAME those of all). remove: delete what was downloaded. quantise: make "
            "the int8 form of one, NAME-int8: some three times as fast on a CPU, and a little less "
            "exact.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = Action.LIST,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Names of models, as the list shows them.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            "-y",
            help="remove: also one that a collection of the store was made with.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            metavar="DIR",
            help="quantise: a folder of typical pictures, 50 at least; up to 200 are read.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    weight_bits: Annotated[
        int,
        typer.Option(
            "--weight-bits",
            min=7,
            max=8,
            help="quantise: 7 for processors whose 8-bit arithmetic saturates, if clipindex says "
            "so.",
            rich_help_panel=PANEL,
        ),
    ] = 8,
) -> int:
    """Show, download and check the models that pictures are indexed with.

    A download comes from the Hugging Face hub, pinned to one revision and checked by SHA-256. It
    is installed whole or not at all; interrupted, the same command goes on where it stopped.
    HF_ENDPOINT names a mirror, HF_TOKEN a token, HF_HUB_OFFLINE=1 forbids the network.

        clipindex models
        clipindex models pull vit-b-32-laion2b
        clipindex models quantise vit-b-32-laion2b --calibrate ~/Pictures
        clipindex ingest ~/Pictures --model vit-b-32-laion2b --collection photos
    """
    chosen = list(dict.fromkeys(names or ()))
    if action is not Action.REMOVE:
        session.refuse_typed(("yes",), "only `remove` asks for it")
    if action is not Action.QUANTISE:
        session.refuse_typed(("calibrate", "weight_bits"), "only `quantise` takes them")
    if action is Action.LIST:
        return _list(session, chosen)
    if action is Action.VERIFY:
        return _verify(session, chosen)
    if not chosen:
        raise UsageError(
            f"say which model: clipindex models {action.value} NAME",
            hint="`clipindex models` lists them",
        )
    if action is Action.PATH and len(chosen) > 1:
        raise UsageError("`path` prints one folder: name one model")
    for name in chosen:
        if action is Action.REMOVE:
            _remove(session, name, despite=yes)
        elif action is Action.QUANTISE:
            from clipindex.cli.quantise import quantise_model

            quantise_model(name, calibrate, weight_bits, session.output)
        else:
            {Action.INFO: _info, Action.PULL: _pull, Action.PATH: _path}[action](session, name)
    return ExitCode.DONE


def _list(session: Session, names: list[str]) -> int:
    from clipindex.cli.models_view import show_models
    from clipindex.model.installed import installed_models
    from clipindex.model.registry import descriptions

    if names:
        raise UsageError("`list` shows all of them", hint=f"clipindex models info {names[0]}")
    show_models(descriptions(), installed_models(), session.output)
    return ExitCode.DONE


def _info(session: Session, name: str) -> None:
    from clipindex.cli.models_view import show_model
    from clipindex.model.installed import installed_models
    from clipindex.model.missing import described
    from clipindex.model.registry import descriptions

    here = installed_models().get(name)
    description = descriptions().get(name) if here is not None else described(name)
    show_model(name, description, here, session.output)


def _pull(session: Session, name: str) -> None:
    from clipindex.cli.download_bar import DownloadBar
    from clipindex.cli.models_view import show_pulled
    from clipindex.model.installed import Installed, installed_models
    from clipindex.model.missing import described, how_to_get
    from clipindex.model.pulling import pull

    description = described(name)
    here = installed_models().get(name)
    if here is not None and here.is_ours:
        show_pulled(description, here, (), session.output)
        return
    if not description.can_be_pulled:
        raise UsageError(
            f"{name} has no ready-made export that could be pulled", hint=how_to_get(description)
        )
    session.output.say(f"{description.title}; licence of the weights: {description.licence}")
    with DownloadBar(session.output, name) as bar:
        pulled = pull(description, bar)
    model = Installed(name, pulled.bundle.folder, pulled.bundle)
    show_pulled(description, model, pulled.files, session.output)


def _path(session: Session, name: str) -> None:
    from clipindex.model.bundle import find_bundle

    folder = str(find_bundle(name).folder)
    if session.output.json:
        session.output.record({"type": "model_path", "model": name, "folder": folder})
    else:
        session.output.result(folder)


def _verify(session: Session, names: list[str]) -> int:
    from clipindex.model.installed import installed_models

    here = installed_models()
    bad = 0
    for name in names or here:
        fault = _fault_of(name, here)
        bad += fault is not None
        if session.output.json:
            message = fault.message if fault is not None else None
            session.output.record({"type": "model_verified", "model": name, "fault": message})
        elif fault is None:
            session.output.say(f"{name}: as it should be")
        else:
            session.output.problem(f"{name}: {fault.message}")
            session.output.problem(f"  {fault.hint}")
    return ExitCode.MODEL if bad else ExitCode.DONE


def _fault_of(name: str, here: dict[str, Installed]) -> ModelError | None:
    from clipindex.model.bundle import find_bundle

    try:
        find_bundle(name).verify()
    except ModelError as error:
        known = here.get(name)
        if known is None or known.is_ours:
            return error
        return ModelError(error.message, hint=f"clipindex models pull {name} replaces it")
    return None


def _remove(session: Session, name: str, *, despite: bool) -> None:
    from clipindex.collection.model_users import collections_made_with
    from clipindex.collection.places import place_at
    from clipindex.model.installed import installed_models, remove, remove_downloads
    from clipindex.model.manifest import FILE_NAME

    model = installed_models().get(name)
    arrived = FILE_NAME.fullmatch(name) is not None and remove_downloads(name)
    if model is None and arrived:
        _removed(session, name, [])
        return
    if model is None:
        raise UsageError(f"no model named '{name}' is here", hint="`clipindex models` lists them")
    store = Path(place_at(session.store, None, session.collection, None).name)
    users = collections_made_with(model, store)
    if users and not despite:
        raise Refused(
            f"{name} made {', '.join(users)} in {store}, which cannot be searched without it",
            hint=f"--yes removes it all the same; `clipindex models pull {name}` brings it back",
        )
    remove(model)
    _removed(session, name, users)


def _removed(session: Session, name: str, users: list[str]) -> None:
    if session.output.json:
        session.output.record({"type": "model_removed", "model": name, "collections": users})
    else:
        session.output.say(f"removed: {name}")
