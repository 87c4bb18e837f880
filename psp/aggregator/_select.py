"""Which members a question goes to: by name, by kind, by label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from psp.errors import EstateError

from ._limits import NAMES_SHOWN_MAX
from ._roster import Member


@dataclass(frozen=True, slots=True)
class Selection:
    """Members chosen by `region=north,kind=books`; nothing chosen means everybody.

    Attributes:
        wanted: By key, the patterns of which one must match; every key must have its match.
    """

    wanted: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Selection:
        """Read terms parted by commas or spaces: `NAME` or `KEY=VALUE`, `*` for any characters.

        `KEY` is `kind`, `name`, or a label of the estate file. Terms with one key are
        alternatives; different keys must all hold.

        Raises:
            EstateError: A term is neither.
        """
        wanted: dict[str, list[str]] = {}
        for term in re.split(r"\s*,\s*|\s+", text.strip()):
            key, equals, value = term.partition("=")
            if not key or (equals and not value):
                raise EstateError(
                    f"members were chosen by {text!r}, in which {term!r} is neither NAME nor"
                    " KEY=VALUE. Write them as in: --members region=north,kind=books"
                )
            wanted.setdefault(key if equals else "name", []).append(value if equals else key)
        return cls(wanted)

    def of(self, members: Sequence[Member]) -> tuple[Member, ...]:
        """The members that are meant, in the estate's order.

        Raises:
            EstateError: A name or a label that no member has, or nobody is left: a question to
                nobody would look like an estate in which there is nothing.
        """
        for key, patterns in self.wanted.items():
            there = {facts[key] for member in members if key in (facts := _facts(member))}
            for pattern in patterns:
                if not any(fnmatchcase(value, pattern) for value in there):
                    raise EstateError(_nobody(key, pattern, there, members))
        chosen = tuple(member for member in members if self._matches(member))
        if not chosen and self.wanted:
            words = ",".join(f"{key}={it}" for key, all_ in self.wanted.items() for it in all_)
            raise EstateError(
                f"no member is all of {words}; each alone has members. Choose fewer conditions."
            )
        return chosen

    def _matches(self, member: Member) -> bool:
        facts = _facts(member)
        return all(
            any(fnmatchcase(facts.get(key, ""), pattern) for pattern in patterns)
            for key, patterns in self.wanted.items()
        )


def _facts(member: Member) -> Mapping[str, str]:
    # Last, so that a label called `name` cannot pass for one.
    return {**member.labels, "kind": member.kind, "name": member.name}


def _nobody(key: str, pattern: str, there: Iterable[str], members: Sequence[Member]) -> str:
    values = sorted(there)
    if not values:
        keys = sorted({key for member in members for key in _facts(member)})
        return f"no member has a label {key!r}; members can be chosen by {', '.join(keys)}."
    shown = ", ".join(values[:NAMES_SHOWN_MAX]) + (" …" if len(values) > NAMES_SHOWN_MAX else "")
    return f"no member has {key}={pattern}; there {'is' if len(values) == 1 else 'are'} {shown}."
