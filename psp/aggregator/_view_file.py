"""A view as a person writes it: a TOML file, and errors that name the line.

    title = "Houses of King County"
    table = "sales"
    group = ["month(date)"]
    [measures]
    volume = "sum(price)"
    area = "sum(sqft_living)"
    [derived]
    ppsf = "volume / area"
    [[thresholds]]
    when = "ppsf < 200"
    severity = "high"

docs/fleet.md, "Views", says what each field means.
"""

from __future__ import annotations

import ast
import operator
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NoReturn

from psp.errors import EstateError, PSPError, QuestionError
from psp.plan import Arithmetic, Constant, Expression, Output, Question, plan_from_sql

from ._exact import exact_from_text
from ._limits import (
    DEADLINE_S,
    EXPRESSION_CHARACTERS_MAX,
    EXPRESSION_DEPTH_MAX,
    THRESHOLDS_MAX,
    VIEW_BYTES_MAX,
    WITHIN_S_MAX,
)
from ._reconcile import Reconciliation, Side
from ._terms import Rates, Terms

KINDS: Final = ("rollup", "summary")
RECONCILIATION: Final = "reconciliation"
SEVERITIES: Final = ("high", "medium")
_FIELDS: Final = frozenset(
    {"title", "kind", "table", "members", "where", "group", "require", "within"}
    | {"measures", "derived", "thresholds", "terms", "labels"}
)
_TERM_FIELDS: Final = frozenset({"shares", "rates", "money", "fiscal"})
_OPERATORS: Final[Mapping[type[ast.operator], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
}
_COMPARE: Final[Mapping[str, Callable[[Decimal, Decimal], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WHEN: Final = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(-?)([0-9.]+)\s*")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A figure of a member that is an exception.

    Attributes:
        column: A measure or derived measure, of each member over all its groups.
        severity: `high` or `medium`.
        sentence: What it means, as people are to read it.
    """

    column: str
    comparison: str
    limit: Decimal
    severity: str
    sentence: str

    def is_crossed(self, figure: object) -> bool:
        """Whether a figure is beyond it; what is not known is not."""
        if isinstance(figure, bool) or not isinstance(figure, int | float | Decimal):
            return False
        return figure == figure and _COMPARE[self.comparison](Decimal(figure), self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view, read and checked; asking it is `psp.aggregator.show`.

    Attributes:
        kind: `rollup`: groups, then members. `summary`: exceptions, position, who is missing.
        members: Whom to ask, as `Selection.parse` reads it.
        subjects: What the archives' subjects are called, for "hidden: fewer than 10 houses".
    """

    title: str
    kind: str
    question: Question
    members: str = ""
    require: str = "deadline"
    deadline_s: float = DEADLINE_S
    terms: Terms = field(default_factory=Terms)
    thresholds: tuple[Threshold, ...] = ()
    subjects: str = "subjects"

    @classmethod
    def load(cls, file: Path) -> View:
        """Read a view.

        Raises:
            QuestionError: It is no view; one sentence with the line and what to do.
            EstateError: The file cannot be read.
        """
        return _reader_of(file).view()


def load_view(file: Path) -> View | Reconciliation:
    """Read a view of any kind.

    Raises:
        QuestionError: It is no view; one sentence with the line and what to do.
        EstateError: The file cannot be read.
    """
    reader = _reader_of(file)
    return reader.reconciliation() if reader.is_reconciliation else reader.view()


def _reader_of(file: Path) -> _Reader:
    try:
        with file.open("rb") as stream:
            data = stream.read(VIEW_BYTES_MAX + 1)
    except OSError as exc:
        raise EstateError(f"{file} cannot be read: {exc.strerror}. Name a view file.") from None
    if len(data) > VIEW_BYTES_MAX:
        raise QuestionError(
            f"{file}, line {data.count(10) + 1}: the file goes on after {VIEW_BYTES_MAX:,}"
            " bytes, and a view has less; is it data? Name a view file."
        )
    return _Reader(file, data.decode("utf-8", "replace"))


class _Reader:
    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._lines = text.splitlines()
        try:
            self._data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as exc:
            found = re.search(r"line (\d+)", str(exc))
            line = int(found[1]) if found else len(self._lines)
            self.refuse(line, f"this is not TOML ({exc}). Mend it there.")

    def refuse(self, line: int, sentence: str) -> NoReturn:
        raise QuestionError(f"{self._file}, line {max(line, 1)}: {sentence}")

    def line_of(self, key: str, section: str = "", *, nth: int = 0) -> int:
        """Where a key stands, for a message; the section where it cannot be found."""
        inside, start, seen = not section, 1, -1
        for number, line in enumerate(self._lines, 1):
            if header := re.match(r"\s*\[+\s*([\w.-]+)\s*\]+", line):
                inside = header[1] == section
                seen += inside
                start = number if inside else start
            elif inside and seen in (-1, nth) and re.match(rf'\s*"?{re.escape(key)}"?\s*=', line):
                return number
        return start

    def view(self) -> View:
        data = self._data
        for key in data:
            if key not in _FIELDS:
                line = max(self.line_of(key), self.line_of("", key))
                self.refuse(line, f"a view has no {key!r}; it has {', '.join(sorted(_FIELDS))}.")
        kind = self.text("kind", default="rollup")
        if kind not in KINDS:
            self.refuse(
                self.line_of("kind"),
                f"{kind!r} is no kind of view; write one of {', '.join((*KINDS, RECONCILIATION))}.",
            )
        question = self.question()
        columns = [output.name for output in question.outputs if output.kind != "group"]
        return View(
            title=self.text("title"),
            kind=kind,
            question=question,
            members=self.text("members", default=""),
            require=self.text("require", default="deadline"),
            deadline_s=self.seconds("within"),
            terms=self.terms(question),
            thresholds=tuple(self.thresholds(columns)),
            subjects=str(data.get("labels", {}).get("subjects", "subjects")),
        )

    @property
    def is_reconciliation(self) -> bool:
        return self._data.get("kind") == RECONCILIATION

    def reconciliation(self) -> Reconciliation:
        for key in self._data:
            if key not in ("title", "kind", "within", "left", "right"):
                line = max(self.line_of(key), self.line_of("", key))
                self.refuse(line, f"a reconciliation has no {key!r}; it has left and right.")
        title, seconds = self.text("title"), self.seconds("within")
        left, right = self.side("left"), self.side("right")
        try:
            return Reconciliation(title=title, left=left, right=right, deadline_s=seconds)
        except QuestionError as exc:
            self.refuse(self.line_of("", "right"), str(exc))

    def side(self, name: str) -> Side:
        line, found = self.line_of("", name), self._data.get(name)
        if not isinstance(found, dict) or set(found) != {"member", "table", "key", "amount"}:
            self.refuse(line, f"[{name}] needs member, table, key and amount, and no more.")
        member, table = found["member"], found["table"]
        key, amount = found["key"], found["amount"]
        columns = [*key, *amount] if isinstance(key, list) and isinstance(amount, list) else [None]
        if not all(isinstance(each, str) for each in (member, table, *columns)):
            self.refuse(
                line, 'a side is as in member = "a", table = "t", key = ["k"], amount = ["a"].'
            )
        return Side(member=member, table=table, key=tuple(key), amount=tuple(amount))

    def text(self, key: str, *, default: str | None = None) -> str:
        value = self._data.get(key, default)
        if not isinstance(value, str):
            self.refuse(self.line_of(key), f'{key} is missing or no text; write {key} = "…".')
        return value

    def seconds(self, key: str) -> float:
        value = self._data.get(key, DEADLINE_S)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value <= WITHIN_S_MAX:
            self.refuse(self.line_of(key), f"{key} is no number of seconds; write {key} = 10.")
        return float(value)

    def strings(self, section: str) -> Mapping[str, str]:
        found = self._data.get(section, {})
        if not isinstance(found, dict):
            self.refuse(self.line_of(section), f"{section} is no table; write [{section}].")
        for name, value in found.items():
            if not _NAME.fullmatch(name) or not isinstance(value, str):
                self.refuse(
                    self.line_of(name, section), f'{section} are as in volume = "sum(price)".'
                )
        return found

    # What is asked

    def question(self) -> Question:
        groups = self._data.get("group", [])
        if not isinstance(groups, list) or not all(isinstance(each, str) for each in groups):
            self.refuse(self.line_of("group"), 'group is as in group = ["month(date)"].')
        measures = self.strings("measures")
        if not measures:
            self.refuse(1, 'a view needs measures; add [measures] and volume = "sum(price)".')
        table = f'"{self.text("table")}"'
        for name, text in measures.items():
            self.parse(self.line_of(name, "measures"), f'select {text} as "{name}" from {table}')
        for text in groups:
            sql = f"select {text}, count(*) from {table} group by {text}"
            self.parse(self.line_of("group"), sql)
        where = self.text("where", default="")
        if where:
            sql = f"select count(*) from {table} where {where}"
            self.parse(self.line_of("where"), sql)
        outputs = [*groups, *(f'{text} as "{name}"' for name, text in measures.items())]
        sql = f"select {', '.join(outputs)} from {table}" + (f" where {where}" if where else "")
        asked = self.parse(1, sql + (f" group by {', '.join(groups)}" if groups else ""))
        if asked.by_member:
            self.refuse(
                self.line_of("group"), "members stand in every view; take `member` out of group."
            )
        return replace(asked, outputs=(*asked.outputs, *self.derived(asked)))

    def parse(self, line: int, sql: str) -> Question:
        try:
            return plan_from_sql(sql)
        except QuestionError as exc:
            self.refuse(line, str(exc))

    def derived(self, asked: Question) -> Sequence[Output]:
        known = {output.name: output.expression for output in asked.outputs}
        texts = self.strings("derived")
        reader = _Derived(self, texts, known)
        for name in texts:
            if name in known:
                self.refuse(
                    self.line_of(name, "derived"), f"{name!r} is a measure too; rename one of them."
                )
        return [Output(name, "derived", reader.expression_of(name, ())) for name in texts]

    # What is made of it

    def terms(self, question: Question) -> Terms:
        found = self._data.get("terms", {})
        line = self.line_of("", "terms")
        if not isinstance(found, dict) or (unknown := sorted(set(found) - _TERM_FIELDS)):
            words = f"terms have no {unknown[0]!r}" if isinstance(found, dict) else "no table"
            self.refuse(line, f"{words}; they have {', '.join(sorted(_TERM_FIELDS))}.")
        try:
            terms = Terms(
                shares=found.get("shares", False) is True,
                rates=_rates(found.get("rates"), self._file),
                money=frozenset(map(str, found["money"])) if "money" in found else None,
                fiscal=str(found.get("fiscal", "")),
            )
            terms.check(question)
        except (PSPError, TypeError) as exc:
            self.refuse(line, str(exc))
        return terms

    def thresholds(self, columns: Sequence[str]) -> Sequence[Threshold]:
        found = self._data.get("thresholds", [])
        if not isinstance(found, list) or len(found) > THRESHOLDS_MAX:
            self.refuse(
                self.line_of("", "thresholds"), f"thresholds are at most {THRESHOLDS_MAX} tables."
            )
        return [self.threshold(entry, nth, columns) for nth, entry in enumerate(found)]

    def threshold(self, entry: Mapping[str, Any], nth: int, columns: Sequence[str]) -> Threshold:
        line = self.line_of("when", "thresholds", nth=nth)
        when = _WHEN.fullmatch(str(entry.get("when", "")))
        limit = exact_from_text(when[4]) if when else None
        if when is None or limit is None:
            self.refuse(line, 'a threshold is as in when = "ppsf < 200".')
        if when[1] not in columns:
            self.refuse(line, f"{when[1]!r} is none of this view's figures: {', '.join(columns)}.")
        severity = entry.get("severity", "medium")
        if severity not in SEVERITIES:
            self.refuse(line, f"the severity is one of {', '.join(SEVERITIES)}.")
        limit = limit.copy_negate() if when[3] else limit
        sentence = str(entry.get("sentence", f"{when[1]} {when[2]} {limit}"))
        return Threshold(when[1], when[2], limit, severity, sentence)


class _Derived:
    """Expressions over combined measures, each made of those that it names."""

    def __init__(
        self, reader: _Reader, texts: Mapping[str, str], known: Mapping[str, Expression]
    ) -> None:
        self._reader = reader
        self._texts = texts
        self._known = dict(known)

    def expression_of(self, name: str, within: tuple[str, ...]) -> Expression:
        if name in self._known:
            return self._known[name]
        line = self._reader.line_of(within[-1] if within else name, "derived")
        if name in within:
            circle = " → ".join((*within[within.index(name) :], name))
            self._reader.refuse(line, f"{name!r} is made of itself ({circle}); break the circle.")
        if name not in self._texts:
            there = ", ".join([*self._known, *self._texts])
            self._reader.refuse(line, f"there is no figure {name!r}; there are {there}.")
        if len(within) >= EXPRESSION_DEPTH_MAX:
            self._reader.refuse(line, f"more than {EXPRESSION_DEPTH_MAX} figures lead to this one.")
        line, text = self._reader.line_of(name, "derived"), self._texts[name]
        if len(text) > EXPRESSION_CHARACTERS_MAX:
            self._reader.refuse(line, f"{name!r} has over {EXPRESSION_CHARACTERS_MAX} characters.")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            found = self._build(tree, (*within, name))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self._reader.refuse(line, f"{text[:40]!r} is not + - * / of figures and numbers.")
        self._known[name] = found
        return found

    def _build(self, node: ast.expr, within: tuple[str, ...]) -> Expression:
        match node:
            case ast.Name(id=name):
                return self.expression_of(name, within)
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                return Constant(value)
            case ast.Constant(value=float() as value):
                return Constant(Decimal(repr(value)))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Arithmetic("-", Constant(0), self._build(operand, within))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                word: Any = _OPERATORS[type(op)]
                return Arithmetic(word, self._build(left, within), self._build(right, within))
        raise ValueError


def _rates(name: object, view: Path) -> Rates | None:
    return None if name is None else Rates.load(view.parent / str(name))
