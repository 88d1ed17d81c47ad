"""What to type where a model was named that is not here."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from clipindex.errors import ModelError
from clipindex.model.registry import ModelDescription, descriptions

LIST = "clipindex models"
CLOSE = 0.64  # of difflib's ratio: a letter or two, a part left out
SHORTEST_PART = 4  # letters of a name's part


def missing_model(name: str, installed: Sequence[str]) -> ModelError:
    """The error for a model that is not on this machine. Raises UsageError when the user's own
    list of models cannot be used."""
    known = descriptions()
    if (description := known.get(name)) is not None:
        return _not_here(name, description)
    hint = (
        f"`{LIST}` shows those that clipindex knows; one of your own is named by its folder:"
        " --model ./FOLDER"
    )
    if close := closest(name, [*installed, *known]):
        get = "" if close in installed else f" {how_to_get(known[close])}"
        hint = f"did you mean '{close}'?{get}"
    return ModelError(
        f"no model named '{name}'; installed: {', '.join(installed) or 'none'}", hint=hint
    )


def missing_repository(name: str) -> ModelError | None:
    """The same for a repository of the hub that holds a known model's weights, or its export;
    None for another name."""
    for description in descriptions().values():
        if name.lower() in (description.checkpoint.lower(), description.repository.lower()):
            return _not_here(name, description)
    return None


def _not_here(name: str, description: ModelDescription) -> ModelError:
    return ModelError(f"the model '{name}' is not on this machine", hint=how_to_get(description))


def described(name: str) -> ModelDescription:
    """What is known of a model. Raises ModelError for an unknown name, with the nearest one."""
    known = descriptions()
    if name in known:
        return known[name]
    close = closest(name, list(known))
    raise ModelError(
        f"clipindex knows no model named '{name}'",
        hint=f"did you mean '{close}'?" if close else f"`{LIST}` shows those that it knows",
    )


def closest(name: str, names: list[str]) -> str | None:
    """The name that was probably meant: one that contains it, else the most similar."""
    lowered = name.lower().replace("_", "-").replace("/", "-")
    containing = [known for known in names if len(lowered) >= SHORTEST_PART and lowered in known]
    matches = containing or get_close_matches(lowered, names, 1, CLOSE)
    return matches[0] if matches else None


def how_to_get_again(*names: str) -> str:
    """What to type for the first of these names that is known; empty where none is."""
    known = descriptions()
    return next((how_to_get(known[name]) for name in names if name in known), "")


def how_to_get(description: ModelDescription) -> str:
    """What to type to have a model on this machine."""
    if description.origin == "installed":
        return "install clipindex again: it comes with it"
    if description.origin in ("convert", "own"):
        terms = f" (its licence, {description.licence}, is yours to accept)"
        return (
            "convert it, in clipindex's repository: pip install '.[convert]', then python"
            f" scripts/convert_to_onnx.py {description.checkpoint} --output FOLDER; then use it"
            f" with --model FOLDER{terms if description.origin == 'own' else ''}"
        )
    size = f" ({description.bytes / 1e6:,.0f} MB)" if description.bytes else ""
    return f"download it once{size}: clipindex models pull {description.id}"
