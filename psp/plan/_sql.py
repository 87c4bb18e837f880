"""SQL text to a question, on the asker's side.

sqlglot parses; this file says which of what it parsed a plan can say. It is a convenience for the
asker and never a guard: an archive looks at the plan alone, and a plan has no place for anything
that is refused here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NoReturn

from psp.capability import Operation
from psp.errors import MissingExtra, QuestionError

from ._conditions import Conditions
from ._plan import Bucket, Filter, GroupKey, Measure, Plan
from ._question import (
    MEMBER,
    Arithmetic,
    Constant,
    Expression,
    GroupValue,
    MeasureValue,
    MemberName,
    Operator,
    Order,
    Output,
    Question,
    SquareRoot,
)
from ._source import Source, bare, class_of, conjuncts, number

if TYPE_CHECKING:
    from sqlglot.expressions import Expression as Node
    from sqlglot.expressions import Select

SQL_CHARACTERS_MAX: Final = 10_000
"""A person's question. A longer text is generated, and would overflow the parser's stack first."""
LIMIT_MAX: Final = 1_000_000
"""Rows one answer may hold at the asker; a terminal or a sheet holds no more."""

# What a select may carry, and what to say about the rest. Keys are sqlglot's argument names; some
# releases end a name that is a Python keyword with an underscore, so it is stripped.
_ALLOWED: Final = frozenset({"expressions", "from", "where", "group", "order", "limit", "kind"})
_NOT_A_SELECT: Final = "a question is one statement that begins with `select`"
_FROM: Final = frozenset({"this", "alias"})
_REFUSED: Final = {
    "joins": "a question asks one table; psp cannot join tables",
    "laterals": "a question asks one table; psp cannot join tables",
    "with": "psp has no `with`; ask one table directly",
    "having": "psp has no `having`; sort with `order by` and cut with `limit`",
    "distinct": "psp has no `distinct`; group by the columns and count(*)",
    "offset": "psp has no `offset`; ask for a larger `limit`",
    "windows": "psp has no window functions; use `group by`",
    "qualify": "psp has no window functions; use `group by`",
}

_MEASURES: Final = {
    "Count": Operation.COUNT,
    "Sum": Operation.SUM,
    "Avg": Operation.MEAN,
    "Min": Operation.MIN,
    "Max": Operation.MAX,
    "Variance": Operation.VARIANCE,
    "Stddev": Operation.VARIANCE,
    "StddevSamp": Operation.VARIANCE,
    "Exists": Operation.EXISTS,
}
_ROOTS: Final = ("Stddev", "StddevSamp")
_OF_ALL: Final = ("VariancePop", "StddevPop")
_BUCKETS: Final = {str(bucket).capitalize(): bucket for bucket in Bucket}
_OPERATORS: Final[dict[str, Operator]] = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/"}
_FUNCTIONS: Final = (
    *("count", "sum", "avg", "min", "max", "variance", "stddev", "histogram", "exists"),
    *(*map(str, Bucket), "date_trunc"),
)


def plan_from_sql(text: str, *, dialect: str = "") -> Question:
    """Read a question in SQL.

    Args:
        dialect: One of sqlglot's, for its quoting and literals; empty for its own mixture.

    Raises:
        QuestionError: A plan cannot say this; one sentence, and a caret under the place.
        MissingExtra: sqlglot is not installed.
    """
    if len(text) > SQL_CHARACTERS_MAX:
        raise QuestionError(
            f"a question of {len(text)} characters; psp reads {SQL_CHARACTERS_MAX}. Shorten it."
        )
    source = Source(text)
    return _Reader(source).question(_parse(source, dialect))


def _parse(source: Source, dialect: str) -> Select:
    try:
        import sqlglot
        from sqlglot.errors import ParseError, SqlglotError
        from sqlglot.expressions import Select
    except ImportError:
        raise MissingExtra("asking in SQL", library="sqlglot", extra="fleet") from None
    # Asked first: the parser takes `selct count(*)` for a name and stumbles over what follows.
    if source.text.lower().split()[:1] not in (["select"], ["with"]):
        source.refuse_at(0, _NOT_A_SELECT)
    try:
        trees = [
            tree for tree in sqlglot.parse(source.text, read=dialect or None) if tree is not None
        ]
    except ParseError as exc:
        error = exc.errors[0] if exc.errors else {}
        line, column = int(error.get("line") or 1), int(error.get("col") or 1)
        word = str(error.get("highlight") or "")
        start = (
            sum(len(each) + 1 for each in source.text.split("\n")[: line - 1]) + column - len(word)
        )
        source.refuse_at(
            start, f"psp cannot read this as SQL from `{word}` on; check what is before it"
        )
    except (SqlglotError, RecursionError, ValueError):
        # The tokenizer's errors carry no position: an unclosed quote, mostly.
        source.refuse_at(
            len(source.text), "the text ends inside a quote, a comment or too many brackets"
        )
    if len(trees) == 1 and isinstance(trees[0], Select):
        return trees[0]
    source.refuse_at(0, _NOT_A_SELECT)


@dataclass
class _Reader:
    """Reads one select; collects the plan's parts as the outputs need them."""

    source: Source
    names: set[str] = field(default_factory=set)  # How a column may be qualified.
    keys: list[GroupKey | None] = field(default_factory=list)  # None: `member`.
    measures: list[Measure] = field(default_factory=list)

    def question(self, select: Select) -> Question:
        for name, value in select.args.items():
            if value and name.rstrip("_") not in _ALLOWED:
                first = value[0] if isinstance(value, list) else value
                word = name.rstrip("_")
                sentence = _REFUSED.get(word, f"psp has no `{word}`; leave it out")
                self.refuse(first, sentence)
        table = self.table(select)
        items: list[Node] = list(select.expressions)
        if not items:
            self.source.refuse_at(0, "a question names what it wants after `select`; add count(*)")
        self.keys = [self.group_key(node) for node in self.group_nodes(select, items)]
        if not self.keys and all(class_of(bare(item)) in ("Column", "Star") for item in items):
            self.refuse(
                items[0],
                "this asks for rows, and a question asks for figures such as count(*) or"
                " sum(price); where a grant allows it, a table's `row` reads one"
                " (docs/archive.md)",
            )
        outputs = tuple(self.output(item) for item in items)
        if not self.measures:
            self.refuse(items[0], "a question needs at least one figure; add count(*)")
        where = select.args.get("where")
        conditions = Conditions(self.source, self.column)
        filters = tuple(map(conditions.filter, conjuncts(where.this))) if where else ()
        return Question(
            plan=self.plan(select, table, filters),
            outputs=outputs,
            by_member=None in self.keys,
            order=tuple(self.orders(select, items)),
            limit=self.limit(select),
        )

    def plan(self, select: Select, table: str, filters: tuple[Filter, ...]) -> Plan:
        keys = tuple(key for key in self.keys if key is not None)
        try:
            return Plan(table=table, filters=filters, group=keys, measures=tuple(self.measures))
        except ValueError as exc:
            self.refuse(select, str(exc))

    def refuse(self, node: object, sentence: str) -> NoReturn:
        self.source.refuse(node, sentence)

    # From and group by

    def table(self, select: Select) -> str:
        source = select.args.get("from_") or select.args.get("from")
        if source is None:
            self.source.refuse_at(
                len(self.source.text), "the question names no table; add `from <table>`"
            )
        node = source.this
        if class_of(node) != "Table" or class_of(node.this) != "Identifier":
            self.refuse(node, "psp has no subqueries; ask one table directly")
        if extra := [name for name, value in node.args.items() if value and name not in _FROM]:
            dots = "a table has a name without dots; which archives are asked is not SQL"
            other = f"psp has no `{extra[0]}` after `from`; name one table there"
            self.refuse(node, dots if extra[0] in ("db", "catalog") else other)
        self.names = {node.name, node.alias_or_name}
        return str(node.name)

    def group_nodes(self, select: Select, items: Sequence[Node]) -> Iterator[Node]:
        group = select.args.get("group")
        if group is None:
            return
        for name, value in group.args.items():
            if value and name != "expressions":
                self.refuse(group, f"psp has no `group by {name}`; list the columns")
        for node in group.expressions:
            yield self.resolved(node, items)

    def resolved(self, node: Node, items: Sequence[Node]) -> Node:
        """Follow `group by 1` and `order by alias` to the output they mean."""
        if class_of(node) == "Literal" and not node.args["is_string"]:
            if not node.name.isdigit() or not 1 <= int(node.name) <= len(items):
                self.refuse(node, f"there are {len(items)} outputs; {node.name} is none of them")
            return bare(items[int(node.name) - 1])
        if class_of(node) == "Column" and not node.args.get("table"):
            for item in items:
                if class_of(item) == "Alias" and item.alias == node.name:
                    return bare(item)
        return bare(node)

    def group_key(self, node: Node) -> GroupKey | None:
        if class_of(node) == "Column":
            name = self.column(node)
            return None if name == MEMBER else GroupKey(name)
        if (bucket := self.bucket(node)) is not None:
            column = node.this
            if class_of(column) != "Column":
                self.refuse(column or node, f"{bucket}() takes one date column")
            return GroupKey(self.column(column), bucket)
        if class_of(node) in _MEASURES:
            self.refuse(node, "a figure cannot be grouped by; group by a column or a date bucket")
        self.refuse_function(node, "group by a column, or year, quarter, month, week or day of one")

    def bucket(self, node: Node) -> Bucket | None:
        if class_of(node) in ("DateTrunc", "TimestampTrunc"):
            unit = node.args["unit"].name.lower()
            if unit not in set(Bucket):
                self.refuse(node, f"psp has no bucket `{unit}`; it has {', '.join(Bucket)}")
            return Bucket(unit)
        return _BUCKETS.get(class_of(node))

    def column(self, node: Node) -> str:
        table = node.args.get("table")
        if table is not None and table.name not in self.names:
            self.refuse(node, f"`{table.name}` is not the table of this question")
        if class_of(node.this) == "Star":
            self.refuse(node, "psp has no `*`; name the columns")
        return str(node.name)

    # Outputs

    def output(self, item: Node) -> Output:
        node = bare(item)
        expression = self.expression(node, inside=False)
        match expression:
            case GroupValue() | MemberName():
                return Output(self.name(item), "group", expression)
            case MeasureValue() | SquareRoot():
                return Output(self.name(item), "measure", expression)
        return Output(self.name(item), "derived", expression)

    def name(self, item: Node) -> str:
        if class_of(item) in ("Alias", "Column"):
            return str(item.alias_or_name)
        return str(item.sql(normalize_functions="lower"))

    def expression(self, node: Node, *, inside: bool) -> Expression:
        node = bare(node)
        kind = class_of(node)
        if kind in _MEASURES:
            measured = self.measure(node)
            return SquareRoot(measured) if kind in _ROOTS else measured
        if kind == "Anonymous" and node.name.lower() == "histogram":
            return self.histogram(node, inside=inside)
        if kind in _OPERATORS:
            left = self.expression(node.this, inside=True)
            return Arithmetic(_OPERATORS[kind], left, self.expression(node.expression, inside=True))
        if kind == "Neg":
            return Arithmetic("-", Constant(0), self.expression(node.this, inside=True))
        if kind == "Literal" and not node.args["is_string"]:
            return Constant(number(node.name))
        if kind == "Star":
            self.refuse(node, "psp has no `*`; name figures such as count(*) or sum(price)")
        if not inside and (kind == "Column" or self.bucket(node) is not None):
            return self.grouped(node)
        if kind == "Column":
            self.refuse(
                node, f"`{node.name}` alone cannot be calculated with; use sum({node.name})"
            )
        self.refuse_function(node, "an output is a group column, a figure, or + - * / of figures")

    def grouped(self, node: Node) -> Expression:
        key = self.group_key(node)
        if key not in self.keys:
            name = key.name if key else MEMBER
            self.refuse(node, f"`{name}` stands outside a figure; add it to `group by`")
        if key is None:
            return MemberName()
        return GroupValue([each for each in self.keys if each is not None].index(key))

    def measure(self, node: Node) -> MeasureValue:
        operation, argument = _MEASURES[class_of(node)], node.this
        if node.args.get("expressions"):
            self.refuse(node, f"{operation.value} takes one column")
        if operation is Operation.COUNT and class_of(argument) in ("Star", "Literal"):
            return self.measure_at(Measure(operation))
        if operation is Operation.EXISTS:
            if class_of(argument) != "Star":
                self.refuse(node, "psp has exists(*) and no subqueries; put conditions in `where`")
            return self.measure_at(Measure(operation))
        if operation is Operation.COUNT and class_of(argument) == "Distinct":
            if len(argument.expressions) != 1:
                self.refuse(node, "count(distinct …) takes one column")
            operation, argument = Operation.DISTINCT, argument.expressions[0]
        return self.measure_at(Measure(operation, self.measured(argument, node)))

    def histogram(self, node: Node, *, inside: bool) -> MeasureValue:
        if inside:
            self.refuse(node, "a histogram is many numbers, so it cannot be calculated with")
        if len(node.expressions) < 2:
            self.refuse(node, "histogram takes a column and its edges: histogram(x, 0, 100, 200)")
        column, *edges = node.expressions
        numbers = []
        for edge in edges:
            value = Conditions(self.source, self.column).literal(edge)
            if isinstance(value, bool) or not isinstance(value, int | Decimal):
                self.refuse(edge, "the edges of a histogram are numbers")
            numbers.append(value)
        name = self.measured(column, node)
        try:
            return self.measure_at(Measure(Operation.HISTOGRAM, name, tuple(numbers)))
        except ValueError as exc:
            self.refuse(node, str(exc))

    def measured(self, argument: Node | None, node: Node) -> str:
        if argument is None or class_of(argument) != "Column":
            self.refuse(
                argument or node,
                "a figure takes one column; calculate outside, as in sum(a) / sum(b)",
            )
        if (column := self.column(argument)) == MEMBER:
            self.refuse(argument, "`member` is not a column of any archive; use it in `group by`")
        return column

    def measure_at(self, measure: Measure) -> MeasureValue:
        if measure not in self.measures:
            self.measures.append(measure)
        return MeasureValue(self.measures.index(measure))

    def refuse_function(self, node: Node, otherwise: str) -> NoReturn:
        if class_of(node) == "Window":
            self.refuse(node, _REFUSED["windows"])
        if class_of(node) in ("Subquery", "Select"):
            self.refuse(node, "psp has no subqueries; ask one table directly")
        if class_of(node) == "Filter":
            self.refuse(node, "psp has no `filter (where …)`; ask twice, with `where`")
        if class_of(node) in _OF_ALL:
            self.refuse(node, "psp has the variance of a sample: variance(x), stddev(x)")
        if class_of(node) == "Anonymous":
            close = difflib.get_close_matches(node.name.lower(), _FUNCTIONS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(_FUNCTIONS)}"
            self.refuse(node, f"psp has no function `{node.name}`; {hint}")
        self.refuse(node, f"psp cannot say `{node.sql()[:40]}` here; {otherwise}")

    # Order and limit

    def orders(self, select: Select, items: Sequence[Node]) -> Iterator[Order]:
        order = select.args.get("order")
        outputs = [bare(item) for item in items]
        for each in order.expressions if order else ():
            node = self.resolved(each.this, items)
            if node not in outputs:
                self.refuse(
                    each, "`order by` names an output: its name, its number, or the same text"
                )
            yield Order(outputs.index(node), descending=bool(each.args.get("desc")))

    def limit(self, select: Select) -> int | None:
        limit = select.args.get("limit")
        if limit is None:
            return None
        node = limit.expression
        if (
            class_of(node) != "Literal"
            or not node.name.isdigit()
            or not 1 <= int(node.name) <= LIMIT_MAX
        ):
            self.refuse(node or limit, f"`limit` takes a whole number from 1 to {LIMIT_MAX}")
        return int(node.name)
