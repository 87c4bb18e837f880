"""Policy tests: who asks what, what is expected, what came of it, and which line decided.

A file names tables, grants and cases (docs/capabilities.md, "Policy tests"). Every question is
asked of a real archive in a temporary directory, under the pairing and all links.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from psp.capability import (
    Need,
    Operation,
    Scope,
    decode_chain_untrusted,
    explain,
    scope_sentence,
    strictest,
    token_from_text_untrusted,
    why_not,
)
from psp.errors import CallFailed, CapabilityError, LimitExceeded, Suppressed
from psp.plan import Plan, plan_from_sql, scope_from_document

from ._archive import Archive, Seen

EXPECTED: Final = ("allowed", "refused", "hidden")
FILE_BYTES_MAX: Final = 1 << 20
"""A policy is written by hand; 1 MiB is thousands of cases."""

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One expectation.

    Attributes:
        asks: A question in SQL; empty where a row is read.
        reads: The key of a row of `table`.
    """

    who: str
    expected: str
    asks: str = ""
    table: str = ""
    reads: tuple[Any, ...] = ()

    @property
    def words(self) -> str:
        """What is asked, on one line."""
        key = ", ".join(map(repr, self.reads))
        return self.asks or f"the row ({key}) of {self.table}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case.

    Attributes:
        found: `allowed`, `refused` or `hidden`.
        why: The lines that decided, and what was said; empty for what is simply allowed.
    """

    case: Case
    found: str
    why: tuple[str, ...]

    @property
    def is_as_expected(self) -> bool:
        return self.found == self.case.expected


@dataclass(frozen=True)
class Policy:
    """A policy that was read: tables full of rows, and who may ask them what.

    Attributes:
        grants: Each name with the links of its grant and its pairing.
    """

    tables: Mapping[str, Archive]
    grants: Mapping[str, tuple[str, tuple[Scope, ...]]]
    cases: tuple[Case, ...]

    def run(self) -> list[Outcome]:
        """Try every case."""
        return [self._outcome(case) for case in self.cases]

    def reach(self) -> dict[str, list[str]]:
        """Say for each grant what it reaches, and which line of which link took the rest."""
        return {who: list(self._reach(who)) for who in self.grants}

    def close(self) -> None:
        """Remove the temporary archives."""
        for archive in self.tables.values():
            archive.close()

    def seen(self, who: str, table: str) -> Seen:
        """Show one table as one grant sees it."""
        pairing, links = self.grants[who]
        return self.tables[table].seen_by(links, pairing=pairing)

    def _reach(self, who: str) -> Iterable[str]:
        for name in self.tables:
            seen = self.seen(who, name)
            here = Scope({name: seen.rule}) if seen.rule else Scope()
            yield scope_sentence(here) if seen.rule else f"table {name}: nothing."
            # Of the ledger and of other tables the next line would say the same again.
            yield from (f"not by {it}" for it in explain(seen.layers) if it.line == f"table {name}")

    def _outcome(self, case: Case) -> Outcome:
        if case.asks:
            plan = plan_from_sql(case.asks).plan
            seen, need = self.seen(case.who, _known(plan.table, self.tables, case)), _need(plan)
        else:
            seen = self.seen(case.who, _known(case.table, self.tables, case))
            need = _need_of_row(seen, case.reads)
        lines = tuple(map(str, why_not(seen.layers, need)))
        try:
            hidden = seen.ask(case.asks).hidden if case.asks else _read(seen, case)
        except Suppressed as exc:
            return Outcome(case, "hidden", (*_floor(seen), str(exc)))
        except LimitExceeded as exc:
            return Outcome(case, "refused", (*_limits(seen), str(exc)))
        except CallFailed as exc:
            return Outcome(case, "refused", lines or (str(exc),))
        if hidden:
            groups = "1 group is" if hidden == 1 else f"{hidden} groups are"
            return Outcome(case, "hidden", (*_floor(seen), f"{groups} hidden, the others shown"))
        return Outcome(case, "allowed", ())


def read_policy(file: Path) -> Policy:
    """Read a policy and fill its tables from the files it names, which are beside it.

    Raises:
        CapabilityError: It is not a policy; the message names the place.
        PSPError: A table, token or question of it is refused.
    """
    document = _document(file)
    _check(document, ("floor", "tables", "grants", "cases"), "a policy")
    grants = _each(document, "grants", lambda name, it: _grant(file.parent, name, it))
    cases = tuple(_case(at, it, grants) for at, it in enumerate(document.get("cases", []), 1))
    if not cases:
        raise CapabilityError(f"{file.name} has no [[cases]]; write what you expect of it.")
    floor = document.get("floor", 1)
    tables = _each(document, "tables", lambda name, it: _table(file.parent, name, it, floor))
    return Policy(tables, grants, cases)


def _document(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise CapabilityError(f"{file} has more than {FILE_BYTES_MAX} bytes; split it.")
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as exc:
        raise CapabilityError(f"{file} cannot be read ({exc.strerror}). Check the path.") from exc
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise CapabilityError(f"{file} is not TOML: {exc}. Correct that place.") from exc


def _table(folder: Path, name: str, document: Mapping[str, Any], floor: int) -> Archive:
    _check(document, ("file", "key", "subject"), f"tables.{name}")
    file = folder / str(document.get("file", ""))
    try:
        with file.open(encoding="utf-8-sig", newline="") as source:
            rows = list(csv.DictReader(source))
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise CapabilityError(
            f"the rows of {name!r} cannot be read from {file} ({exc}); `file` names a CSV file"
            " beside the policy."
        ) from exc
    return Archive(
        rows,
        table=name,
        key=document.get("key", ()),
        subject=document.get("subject"),
        floor=floor,
    )


def _grant(folder: Path, name: str, document: Mapping[str, Any]) -> tuple[str, tuple[Scope, ...]]:
    _check(document, ("pairing", "links", "token"), f"grants.{name}")
    pairing = str(document.get("pairing", "USER"))
    if "token" in document:
        token = token_from_text_untrusted((folder / document["token"]).read_text("ascii"))
        return pairing, tuple(link.scope for link in decode_chain_untrusted(token).links)
    links = tuple(scope_from_document(it) for it in document.get("links", []))
    if not links:
        raise CapabilityError(f"grants.{name} has no links and no token; give it one of them.")
    return pairing, links


def _case(at: int, document: Mapping[str, Any], grants: Mapping[str, object]) -> Case:
    place = f"case {at}"
    _check(document, ("who", "asks", "table", "reads", "expected"), place)
    if (who := document.get("who")) not in grants:
        raise CapabilityError(f"{place} asks as {who!r}; there are {', '.join(grants)}.")
    if document.get("expected") not in EXPECTED:
        raise CapabilityError(
            f"{place} expects {document.get('expected')!r}; it can be {', '.join(EXPECTED)}."
        )
    if ("asks" in document) == ("reads" in document):
        raise CapabilityError(
            f"{place} must either ask a question (asks) or read a row (table and reads)."
        )
    return Case(
        who=str(who),
        expected=document["expected"],
        asks=document.get("asks", ""),
        table=document.get("table", ""),
        reads=tuple(document.get("reads", ())),
    )


def _need(plan: Plan) -> Need:
    return Need(
        table=plan.table,
        operations=frozenset(each.operation for each in plan.measures),
        output=frozenset(each.column for each in plan.measures if each.column),
        filters=frozenset(each.column for each in plan.filters),
        groups=frozenset(each.column for each in plan.group),
    )


def _need_of_row(seen: Seen, key: Sequence[Any]) -> Need:
    names = seen.archive.table.key
    return Need(
        table=seen.archive.table.name,
        operations=frozenset({Operation.READ}),
        filters=frozenset(names),
        row=dict(zip(names, key, strict=False)),
    )


def _read(seen: Seen, case: Case) -> int:
    seen.read(*case.reads)
    return 0  # A row is shown or not; disclosure control hides none.


def _floor(seen: Seen) -> tuple[str, ...]:
    found = strictest(seen.layers, seen.archive.table.name, "floor")
    return () if found is None else (str(found),)


def _limits(seen: Seen) -> tuple[str, ...]:
    table = seen.archive.table.name
    found = [strictest(seen.layers, table, line) for line in ("groups_max", "bytes_max")]
    return tuple(str(it) for it in found if it is not None)


def _known(table: str, tables: Mapping[str, object], case: Case) -> str:
    if table not in tables:
        raise CapabilityError(
            f"{case.words!r} is about {table!r}; the policy has the tables {', '.join(tables)}."
        )
    return table


def _each(
    document: Mapping[str, Any], part: str, read: Callable[[str, Mapping[str, Any]], _Read]
) -> dict[str, _Read]:
    found = document.get(part, {})
    if not isinstance(found, dict) or not found:
        raise CapabilityError(f"the policy has no [{part}.NAME]; write at least one.")
    try:
        return {name: read(name, it) for name, it in found.items()}
    except (TypeError, ValueError, AttributeError, OSError) as exc:
        raise CapabilityError(f"[{part}] cannot be read: {exc}. Correct it.") from exc


def _check(document: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    if not isinstance(document, dict):
        raise CapabilityError(f"{what} is not a table of TOML; it has {', '.join(known)}.")
    for word in document:
        if word not in known:
            raise CapabilityError(f"{what} has no {word!r}; it has {', '.join(known)}.")
