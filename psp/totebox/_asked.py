"""A command under a grant: what is asked, by whom, and what its entry in the ledger tells of it.

The entry is the memory, too: it holds the key under which the command was given, so what was done
and that it was done become durable together, by one sync.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from psp.capability import (
    ARCHIVE_OBJECT,
    CommandKey,
    Grant,
    Operation,
    Scope,
    hash_commands,
)
from psp.errors import CapabilityError, Denied, Invalid
from psp.values import Value

from ._entries import ASKED, AUDITED, DOCUMENT, INGESTED, STATE, UNCHANGED
from ._limits import APPEND_BYTES_MAX, NAME_OF_FILE_BYTES_MAX
from ._manifest import Manifest

APPEND: Final = "append"

_TEXT, _COUNT, _BYTES = (str,), (int,), (bytes,)
_ARGUMENTS: Final[Mapping[str, Mapping[str, tuple[type, ...]]]] = {
    "audit": {"sample": _COUNT},
    "suspend": {},
    "resume": {},
    APPEND: {
        "table": _TEXT,
        "file": _TEXT,
        "content": _BYTES,
        "null": _TEXT,
        "kind": _TEXT,
        "date": _TEXT,
        "counterparty": _TEXT,
    },
}
"""The commands, and what each may say. All of it is optional but the first three of `append`."""

_NEEDED: Final = {APPEND: ("table", "file", "content")}

_TOLD: Final[Mapping[str, tuple[str, ...]]] = {
    STATE: ("before", "after"),
    UNCHANGED: ("state", "sealed_by"),
    AUDITED: ("worst", "tree_size", "assets_sealed", "assets_read", "findings_by_part"),
    INGESTED: ("table", "rows", "bytes"),
    DOCUMENT: ("asset", "bytes"),
}
"""What whoever commands is told of each kind of entry. The rest is for the owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One command, read and not yet judged.

    Attributes:
        request: SHA-256 over the command and its arguments: what the key stands for.
        holder: The public key of the grant's last holder.
        presenter: SHA-256 of the SPKI of the machine that brings it.
        operator: The name under which that machine is paired.
    """

    command: str
    arguments: Mapping[str, Any]
    key: CommandKey
    request: bytes
    grant_id: bytes
    holder: bytes
    presenter: bytes
    operator: str

    @property
    def principal(self) -> bytes:
        """Whose key it is: nobody can use up, or learn from, the keys of another."""
        return self.presenter + self.holder

    def facts(self) -> dict[str, str]:
        """What the entry tells of it."""
        return {
            "command": self.command,
            "key": str(self.key),
            "request": self.request.hex(),
            "grant": self.grant_id.hex(),
            "holder": self.holder.hex(),
            "presenter": self.presenter.hex(),
        }


def read_command_untrusted(
    command: str, arguments: Mapping[str, Value], key: bytes, *, grant: Grant, operator: str
) -> Asked:
    """Read a command that a grant's holder sent.

    Raises:
        Invalid: It is none. Nothing else is raised.
    """
    known = _ARGUMENTS.get(command)
    if known is None:
        raise Invalid(
            f"there is no command {command[:40]!r}; there are {', '.join(_ARGUMENTS)}. Ask the"
            " archive's operator which release it runs"
        )
    missing = [name for name in _NEEDED.get(command, ()) if name not in arguments]
    wrong = [name for name, value in arguments.items() if type(value) not in known.get(name, ())]
    if missing or wrong:
        said = f"no {missing[0]}" if missing else f"{wrong[0][:40]!r}, or another type of it"
        raise Invalid(f"{command} came with {said}; it takes {', '.join(known) or 'nothing'}")
    _check_sizes(arguments)
    try:
        read = CommandKey.from_bytes_untrusted(key)
    except CapabilityError as exc:
        raise Invalid(str(exc)) from None
    return Asked(
        command=command,
        arguments=arguments,
        key=read,
        request=hash_commands([(command, [dict(arguments)])]),
        grant_id=grant.grant_id,
        holder=grant.leaf_holder,
        presenter=grant.leaf_presenter,
        operator=operator,
    )


def _check_sizes(arguments: Mapping[str, Any]) -> None:
    if (sample := arguments.get("sample", 1)) < 1:
        raise Invalid(f"a sample of {sample} originals says nothing; take 1 or more")
    if (size := len(arguments.get("content", b""))) > APPEND_BYTES_MAX:
        raise Invalid(
            f"a file of {size:,} bytes was sent, and a call brings {APPEND_BYTES_MAX:,}. Seal it"
            " where the archive is, with psp archive"
        )
    name = arguments.get("file", "file")
    is_plain = name.isprintable() and "/" not in name and not name.startswith(".")
    if not is_plain or not 1 <= len(name.encode()) <= NAME_OF_FILE_BYTES_MAX:
        raise Invalid(
            f"the file came with a name that is none: it has a slash, a point at its beginning, or"
            f" not 1 to {NAME_OF_FILE_BYTES_MAX} bytes. Name it as in invoices.csv"
        )


def check_right(asked: Asked, scope: Scope, manifest: Manifest) -> str:
    """Look whether a grant allows a command; return the right that does, in words.

    Raises:
        Denied: It does not, or there is no such table: in the same words.
        Invalid: It allows an append to a part of the table only.
    """
    if asked.command != APPEND:
        if not scope.allows_method(ARCHIVE_OBJECT, asked.command):
            raise Denied
        return f"{asked.command} of the object {ARCHIVE_OBJECT}"
    name = asked.arguments["table"]
    rule = scope.tables.get(name)
    table = next((it for it in manifest.tables if it.name == name), None)
    if rule is None or table is None or Operation.APPEND not in rule.allowed_operations:
        raise Denied
    # A row replaces the one with its key, so who appends writes every column, of any row.
    if rule.rows or not rule.output.issuperset(table.column_names):
        raise Invalid(
            f"this grant shows a part of {name!r}, and an appended row may replace any other. Ask"
            " for a grant without rows, and with every column in output"
        )
    return f"{APPEND} to the table {name}"


def outcome_of(entry: bytes, place: int, *, is_repeated: bool) -> dict[str, Value]:
    """Give what whoever commands is told, from the entry alone: the same whenever it is told."""
    document = json.loads(entry)
    return {
        "entry": place,
        "time": document["time"],
        "kind": document["kind"],
        "repeated": is_repeated,
        "facts": {name: document[name] for name in _TOLD[document["kind"]] if name in document},
    }


def request_in(entry: bytes) -> bytes:
    """Read which request an entry has done."""
    return bytes.fromhex(json.loads(entry)[ASKED]["request"])
