"""Standing questions as people and programs see them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from clipindex.cli import streams
from clipindex.cli.event_lines import standing_line, unasked_line
from clipindex.cli.output import Output
from clipindex.cli.words import count_of
from clipindex.collection.questions import StandingQuestion
from clipindex.errors import ExitCode
from clipindex.stores.verified import BatchVerified
from clipindex.upkeep.standing.asking import QuestionUnasked, StandingEvent, StandingHit
from clipindex.upkeep.standing.editing import StandingFound

NOT_SHOWN = ("vectors", "is_text", "model")  # what a model made of it


def show_questions(questions: Sequence[StandingQuestion], output: Output) -> None:
    """A line each."""
    if not questions and not output.json:
        output.say('no standing questions; `clipindex standing add NAME "..."` makes one')
    for question in questions:
        show_question(question, output)


def show_question(question: StandingQuestion, output: Output, *, added: bool = False) -> None:
    """What it asks, and what makes a hit."""
    facts = question.to_json()
    for name in NOT_SHOWN:
        del facts[name]
    if output.json:
        tag = None if question.tag is None else "=".join(question.tag)
        output.record({"type": "question", "name": question.name, **facts, "tag": tag})
        return
    output.result(f"{question.name}: {_asked(question)}; {_rules(question)}")
    if added:
        since = "new pictures are asked from the next ingest on"
        older = f"; `clipindex standing run {question.name}` asks those that are indexed already"
        output.say(since + (older if question.since else ""))


def _asked(question: StandingQuestion) -> str:
    parts = []
    for value, kind, weight in question.terms:
        shown = f'"{value}"' if kind == "text" else value
        parts.append(shown if weight == 1 else f"{weight:g}*{shown}")
    return " + ".join(parts)


def _rules(question: StandingQuestion) -> str:
    rules = [] if question.min_z is None else [f"z at least {question.min_z:g}"]
    rules += [] if question.min_score is None else [f"score at least {question.min_score:g}"]
    rules = rules or ["what fits"]
    rules += [f"below {' or '.join(question.under)}"] if question.under else []
    rules += [f"{name.replace('_', ' ')} {_shown(v)}" for name, v in question.filters.items()]
    rules += [] if question.tag is None else [f"tagged {'='.join(question.tag)}"]
    return ", ".join(rules)


def _shown(value: object) -> str:
    """A filter's value: of a list each; a condition is key, sign and value."""
    if not isinstance(value, list | tuple):
        return str(value)
    return " or ".join(
        "".join(part) if isinstance(part, list | tuple) else str(part) for part in value
    )


def show_found(
    name: str, found: Sequence[StandingFound], output: Output, *, paths: bool, zero: bool
) -> None:
    """Hits: a line each of time, z, score and path, or the paths alone."""
    if paths or zero:
        end = b"\0" if zero else b"\n"
        everything = (path for content in found for path in content.exact_paths)
        streams.write_bytes(b"".join(path + end for path in everything))
    elif output.json:
        for content in found:
            line: dict[str, Any] = asdict(content)
            del line["exact_paths"]
            output.record({"type": "found", "question": name, **line})
    else:
        if not found:
            output.say("nothing found yet")
        for content in found:
            z = "" if content.z is None else f"{content.z:.1f}"
            for path in content.paths:
                output.fields(content.found, z, f"{content.score:.4f}", path)


def show_run(events: Iterable[StandingEvent], output: Output) -> int:
    """The hits of a run as they are found, then how many."""
    hits = tagged = 0
    code = ExitCode.DONE
    output.done = "no new hits"
    for event in events:
        if isinstance(event, StandingHit):
            hits += 1
            tagged += event.tag is not None
            output.log(standing_line(event))
            if output.json:
                output.record({"type": "standing", **asdict(event)})
            elif output.verbose:
                output.say(standing_line(event))
        elif isinstance(event, QuestionUnasked):
            output.problem(unasked_line(event))
            code = ExitCode.ATTENTION
        elif output.json and isinstance(event, BatchVerified):
            output.record({"type": "batch", **asdict(event), "verified": True})
        if hits:
            output.done = f"{count_of(hits, 'new hit')}, {tagged:,} tagged"
    if output.json:
        output.record({"type": "asked", "hits": hits, "tagged": tagged, "exit_code": int(code)})
    elif not output.quiet:
        output.result(str(output.done))
    return code
