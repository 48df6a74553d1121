"""Explanations of the policy engine on standard output: one in full, or many as a table or JSON lines.

Lines, not boxes: a rule's name is never cut, whatever the width. What a name holds is printed plain.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click
from rich.console import Console
from rich.text import Text

from harness.errors import AzreachError
from harness.flows import FileFlow
from harness.policy.compiled import Compiled
from harness.policy.decision import Decision, Explanation
from harness.policy.document import summary_to_json, to_json
from harness.policy.explain import explain
from harness.text import plain

_DENIED, _CANNOT_TELL = 1, 2
_COLOURS = {"allow": "green", "deny": "red", "error": "yellow"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One flow of a file: explained, or why it cannot be told."""

    asked: FileFlow
    explanation: Explanation | None = None
    error: AzreachError | None = None


def answer_all(view: Compiled, flows: Iterable[FileFlow], source_port: int) -> Iterator[Answer]:
    """Every flow in order; a flow that cannot be told does not stop the others."""
    for asked in flows:
        try:
            yield Answer(asked, explain(view, asked.flow, source_port=source_port))
        except AzreachError as error:
            yield Answer(asked, error=error)


def print_json(explanation: Explanation) -> None:
    # ASCII only: whatever a name holds, the terminal and the reader's encoding are safe from it
    click.echo(json.dumps(to_json(explanation), indent=2))


def print_lines(answers: Iterable[Answer]) -> int:
    """A JSON document a line; returns the exit status."""
    status = 0
    for answer in answers:
        if answer.explanation is not None:
            document = summary_to_json(answer.explanation)
        else:
            flow, error = answer.asked.flow, answer.error
            assert error is not None  # an answer has one of the two
            document = {
                "from": flow.source, "to": flow.target, "protocol": flow.protocol.value, "port": flow.port,
                "verdict": "error", "error": error.message, "place": answer.asked.place,
            }  # fmt: skip
        # not click.echo, which flushes every line: there may be millions
        sys.stdout.write(f"{json.dumps(document)}\n")
        status = max(status, _status(answer))
    return status


def print_table(answers: Iterable[Answer]) -> int:
    """A line for each flow, and how many there were of each; returns the exit status."""
    console = Console(highlight=False, soft_wrap=True)
    # rich takes as long for a line as the engine for its flow
    style = click.style if console.color_system is not None else _unstyled
    status, counts = 0, {"allow": 0, "deny": 0, "error": 0}
    for answer in answers:
        found, flow = answer.explanation, answer.asked.flow
        word = found.verdict.value if found is not None else "error"
        told = plain(_decider(answer))
        line = f"{style(f'{word.upper():<6}', fg=_COLOURS[word])}{plain(str(flow))}"
        sys.stdout.write(f"{line}  {style(told, dim=True)}\n" if told else f"{line}\n")
        counts[word] += 1
        status = max(status, _status(answer))
    total = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count) or "no flows"
    sys.stdout.write(f"{style(total, bold=True)}\n")
    return status


def _decider(answer: Answer) -> str:
    """The cause and what decided; for a flow that cannot be told its line, and why."""
    found = answer.explanation
    if found is None:
        assert answer.error is not None  # an answer has one of the two
        return f"{answer.asked.place.rpartition(':')[2]}: {answer.error.message}"
    decider = found.rule or (str(found.route) if found.route else "")
    return " ".join(part for part in (found.cause.value if found.cause else "", decider) if part)


def _unstyled(text: str, **_styles: object) -> str:
    return text


def _status(answer: Answer) -> int:
    if answer.explanation is None:
        return _CANNOT_TELL
    return 0 if answer.explanation.allowed else _DENIED


def print_one(explanation: Explanation, *, rules: bool = False) -> None:
    """The verdict, what decided, every decision on the way, the fix; with ``rules`` every rule asked."""
    console = Console(highlight=False, soft_wrap=True)
    colour = "bold green" if explanation.allowed else "bold red"
    addresses = f" ({explanation.source_address} -> {explanation.target_address})"
    verdict = (explanation.verdict.upper(), colour)
    _line(console, verdict, (f"  {explanation.flow}", "bold"), (addresses, "dim"))
    if explanation.cause is not None:
        _line(console, ("cause     ", "dim"), (explanation.cause.value, colour))
    if explanation.deciding is not None:
        deciding = explanation.deciding
        _line(console, ("because   ", "dim"), (f"{deciding.where}: {deciding.why}", ""))
    if explanation.rule is not None:
        _line(console, ("rule      ", "dim"), (explanation.rule, ""))
    if explanation.route is not None:
        _line(console, ("route     ", "dim"), (str(explanation.route), ""))
    _line(console, ("decisions", "dim"))
    for number, decision in enumerate(explanation.decisions, 1):
        _line(console, *_decision(number, decision))
        for evaluation in decision.evaluations() if rules else ():
            _line(console, (f"        {evaluation}", "" if evaluation.matched else "dim"))
    if explanation.fix:
        _line(console, ("fix", "dim"))
    for command in explanation.fix:
        _line(console, (f"  {command}", ""))


def _line(console: Console, *parts: tuple[str, str]) -> None:
    console.print(Text.assemble(*((plain(text), style) for text, style in parts)))


def _decision(number: int, decision: Decision) -> tuple[tuple[str, str], ...]:
    denied = decision.access.value == "Deny"
    return (
        (f"  {number:>2}. {decision.way.value:<7} ", "dim"),
        (f"{decision.access.value:<5} ", "red" if denied else "green"),
        (f"{decision.kind.value:<10} {decision.where}: {decision.why}", ""),
    )
