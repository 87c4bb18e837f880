"""`psp verify PAGE.html`: what the page's own script checks, without a browser."""

from __future__ import annotations

import json
import re
import sys
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import msgpack

from psp.aggregator import Answer, MemberState, Outcome, Roster, read_reply_untrusted
from psp.capability import hash_commands
from psp.console import neutral, shown_figure
from psp.errors import EstateError, PSPError
from psp.ledger import (
    ProofFile,
    decode_verifier_key_untrusted,
    verify_proof_file_untrusted,
)
from psp.plan import Arithmetic, Constant, Expression, MeasureValue, Output, Plan, Question
from psp.totebox import decode_read_untrusted, hash_result
from psp.values import Value, from_ext, to_text

from ._common import out, print_json

PAGE_BYTES_MAX: Final = 256 * 1024 * 1024
"""A page of ten thousand members has a tenth of that."""
_EVIDENCE: Final = re.compile(r'<script type="application/json" id="evidence">(.*?)</script>', re.S)
_OPERATORS: Final = ("+", "-", "*", "/")
DEPTH_MAX: Final = 64


@dataclass(slots=True)
class _Checked:
    """What came of one page.

    Attributes:
        wrong: By member, or `total` or a group: what does not hold.
        known: Members whose keys are those of the estate given.
        asked: What each figure is, from the plan that the receipts name.
    """

    asked: str
    members: list[str] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)


def verify_page(path: Path, data: bytes, estate: Path | None, *, json_wanted: bool) -> None:
    """Check a page and say what was found; leaves with 1 if anything does not hold.

    Raises:
        EstateError: It is no page that proves itself.
    """
    checked = check_page_untrusted(path, data, None if estate is None else Roster.load(estate))
    if json_wanted:
        print_json(
            {
                "page": str(path),
                "asked": checked.asked,
                "members": checked.members,
                "wrong": checked.wrong,
                "keys_known": sorted(checked.known),
            }
        )
    else:
        _say(checked, with_estate=estate is not None)
    if checked.wrong:
        sys.exit(1)


def _say(checked: _Checked, *, with_estate: bool) -> None:
    for name, why in checked.wrong.items():
        out().print(f"NOT VERIFIED {neutral(name)}: {neutral(why)}", soft_wrap=True)
    out().print(f"asked of {neutral(checked.asked, 1_000)}", soft_wrap=True)
    good = sum(member not in checked.wrong for member in checked.members)
    out().print(f"{good} of {len(checked.members)} members verified", soft_wrap=True)
    if with_estate:
        out().print(f"{len(checked.known)} of their keys are those of the estate")
    else:
        out().print(
            "by the keys in the page itself: compare them with those of an estate that you trust,"
            " with --estate DIR",
            soft_wrap=True,
        )


def check_page_untrusted(path: Path, data: bytes, roster: Roster | None) -> _Checked:
    """Check every receipt, every answer under it, and every figure that is shown.

    Raises:
        EstateError: It is no page that proves itself.
    """
    try:
        text = data.decode()
        evidence = json.loads(_EVIDENCE.findall(text)[0])
        question = _question(evidence)
        asked = _asked(question)
        entries = {str(each["member"]): each for each in evidence["members"]}
    except (ValueError, LookupError, TypeError, RecursionError, PSPError, msgpack.UnpackException):
        raise EstateError(
            f"{path} is no page that proves itself. Save one with: psp view FILE.toml --save"
            " PAGE.html"
        ) from None
    shown = _Table()
    shown.feed(text)
    checked = _Checked(asked=asked, members=list(entries))
    outcomes = []
    for name, entry in entries.items():
        try:
            outcome = _outcome(name, entry, question)
            outcomes.append(outcome)
            _compare(shown, ("member", name), question, [outcome])
        except (PSPError, ValueError, LookupError, TypeError, msgpack.UnpackException) as exc:
            checked.wrong[name] = str(exc)
        if roster is not None:
            _check_key(name, entry, roster, checked)
    for place in shown.rows:
        if place[0] != "member":
            try:
                _compare(shown, place, question, outcomes)
            except (PSPError, ValueError) as exc:
                checked.wrong[f"{place[0]} {place[1]}".strip()] = str(exc)
    return checked


def _asked(question: Question) -> str:
    plan = question.plan
    figures = ", ".join(f"{it.name} = {_words(it.expression, plan)}" for it in question.outputs)
    return f"{plan.table}, under {len(plan.filters)} conditions: {figures}"


def _words(expression: Expression, plan: Plan) -> str:
    match expression:
        case MeasureValue(index):
            return plan.measures[index].name
        case Constant(value):
            return to_text(value)
        case Arithmetic(operator, left, right):
            return f"({_words(left, plan)} {operator} {_words(right, plan)})"
    return "?"


def _check_key(name: str, entry: Mapping[str, Any], roster: Roster, checked: _Checked) -> None:
    known = {member.name: member.reads_key for member in roster.members}
    if known.get(name) == entry.get("key"):
        checked.known.add(name)
    else:
        checked.wrong.setdefault(name, "its key is not the one that the estate knows")


def _outcome(name: str, entry: Mapping[str, Any], question: Question) -> Outcome[Any]:
    proof = entry["proof"]
    file = ProofFile(
        index=int(proof["index"]),
        hashes=[b64decode(each) for each in proof["hashes"]],
        note=str(proof["note"]).encode(),
        entry=b64decode(proof["entry"]),
    )
    key = decode_verifier_key_untrusted(str(entry["key"]))
    read = decode_read_untrusted(verify_proof_file_untrusted(file.encode(), key=key).entry)
    answer: Value = msgpack.unpackb(b64decode(entry["answer"]), ext_hook=from_ext)
    if read.result is None or read.result != hash_result(answer):
        raise ValueError("its answer is not the one on its record")
    command = msgpack.unpackb(b64decode(entry["command"]), ext_hook=from_ext)
    asked = Plan.from_wire_untrusted(command[1][1][0])
    if (
        read.command != hash_commands([(str(word), [*given]) for word, given in command])
        or command[0] != ["table", [asked.table]]
        or replace(asked, as_of=None) != question.plan
    ):
        raise ValueError("its receipt is of another question")
    reply = read_reply_untrusted(name, question.plan, answer)
    return Outcome(member=name, state=MemberState.ANSWERED, reply=reply)


def _compare(
    shown: _Table, place: tuple[str, str], question: Question, outcomes: Sequence[Outcome[Any]]
) -> None:
    answer = Answer(question=question, outcomes=tuple(outcomes), asked_at=datetime.now(UTC))
    parts = [
        part for part in answer.parts if place[0] != "group" or _group_id(part.key) == place[1]
    ]
    expected = [shown_figure(value) for value in answer.total(parts).values()]
    if shown.rows.get(place) != expected:
        raise ValueError("a figure that is shown is not what was answered")


def _group_id(key: Sequence[Value] | None) -> str:
    plain = None if key is None else [None if value is None else to_text(value) for value in key]
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _question(evidence: Mapping[str, Any]) -> Question:
    wire = msgpack.unpackb(b64decode(evidence["plan"]), ext_hook=from_ext)
    plan = Plan.from_wire_untrusted(wire)
    return Question(
        plan=plan,
        outputs=tuple(
            Output(str(each["name"]), each["kind"], _expression(each["expression"], DEPTH_MAX))
            for each in evidence["outputs"]
        ),
    )


def _expression(wire: Any, depth: int) -> Expression:
    match wire:
        case ["measure", int(index)]:
            return MeasureValue(index)
        case ["constant", str(text)]:
            return Constant(Decimal(text) if "." in text else int(text))
        case [operator, left, right] if operator in _OPERATORS and depth > 0:
            return Arithmetic(operator, _expression(left, depth - 1), _expression(right, depth - 1))
    raise ValueError("an expression of the page is none")


class _Table(HTMLParser):
    """The figures that a page shows, by the row that they stand in."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: dict[tuple[str, str], list[str]] = {}
        self._place: tuple[str, str] | None = None
        self._is_figure = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "tr":
            self._place = next(
                (
                    (word, given[f"data-{word}"] or "")
                    for word in ("member", "group", "total")
                    if f"data-{word}" in given
                ),
                None,
            )
            if self._place is not None:
                self.rows[self._place] = []
        self._is_figure = tag == "td" and "data-column" in given
        if self._is_figure and self._place is not None:
            self.rows[self._place].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._is_figure = False

    def handle_data(self, data: str) -> None:
        if self._is_figure and self._place is not None:
            self.rows[self._place][-1] += data
