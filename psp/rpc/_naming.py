"""What a call names: the object it is made on, and the answers that its arguments stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from psp.errors import CallFailed, Invalid, RemoteProtocolError
from psp.wire import CONTAINERS, Promised, WireTarget

from ._answer_table import AnswerTable
from ._answers import (
    STREAMING,
    Answer,
    CallReady,
    Exported,
    Need,
    not_callable,
    stream_not_nameable,
    walk,
)
from ._ids import BOOTSTRAP, AnswerId, ExportId

Named: TypeAlias = tuple[Any, Any, Promised]
"""Where in the arguments a name stands (container, key), and what it names."""


class Naming:
    """Looks up what one connection's calls name: references given out, answers kept."""

    def __init__(self, answers: AnswerTable, exports: dict[ExportId, Exported]) -> None:
        self._answers = answers
        self._exports = exports
        self._last_export = 0

    def export(self, exported: Exported) -> ExportId:
        """Give an object its own new id; one of `Room.export` has been taken for it."""
        self._last_export += 1
        export = ExportId(self._last_export)
        self._exports[export] = exported
        return export

    def release(self, exports: Iterable[int]) -> None:
        """Forget references. Late, or said twice, is nothing."""
        for export in exports:
            self._check_given(export)
            released = self._exports.pop(ExportId(export), None)
            if released is not None and export != BOOTSTRAP:
                self._answers.room.release(released.tag)

    def reference(self, export: int) -> Exported | None:
        """Give the object of a reference; None if it was released."""
        found = self._exports.get(ExportId(export))
        if found is None:
            self._check_given(export)
        return found

    def known_object(self, target: WireTarget) -> Exported | None:
        """Give the object that a call is made on, if it is known; `resolve` says why it is not."""
        if isinstance(target, int):
            return self.reference(target)
        asked, path = target
        assert isinstance(asked, int)
        return None if path else self._answers.kept_object(AnswerId(asked))

    def resolve(
        self, call: CallReady, body_bytes: int, target: WireTarget, promised: Sequence[Named]
    ) -> CallFailed | None:
        """Find the target and the named arguments of a call, as far as they are known now.

        What is not known yet stands in `call.needs` afterwards, and in `call.body_bytes` what the
        call is to be charged with. Gives why the call cannot start.
        """
        call.body_bytes = body_bytes
        call.exported = None
        call.needs = {}
        call.argument_tags = []
        call.objects = []
        call.named_nodes = 0
        names = [(None, None, Promised(target)), *promised]
        for container, key, name in names:
            failure = self._resolve_one(call, container, key, name.target)
            if failure is not None:
                return failure
        return None if call.exported is None else self._answers.room.line_refusal(call.exported)

    def _resolve_one(
        self, call: CallReady, container: Any, key: Any, target: WireTarget
    ) -> CallFailed | None:
        if isinstance(target, int):
            exported = self.reference(target)
            if exported is None:
                return Invalid("that reference was released")
            if container is None:
                call.exported = exported
            else:
                self._answers.give_object(call, Need(container, key, ()), exported)
            return None
        asked, path = target
        assert isinstance(asked, int)
        assert isinstance(path, list)
        if asked >= call.answer_id:
            raise RemoteProtocolError(
                f"question {call.answer_id} names answer {asked}, which was not asked before it"
            )
        parent = self._answers.kept(AnswerId(asked))
        refusal = self._answers.room.wait_refusal(parent, len(path))
        if refusal is not None or parent is None:
            return refusal
        need = Need(container, key, tuple(path))
        if parent.state == STREAMING:
            # Waiting for its END would keep it alive after its reader has given it up.
            return stream_not_nameable()
        if parent.is_settled:
            return self._give(call, need, walk(parent.outcome, need.path), parent)
        call.needs.setdefault(parent.answer_id, (parent, []))[1].append(need)
        return None

    def _give(
        self, call: CallReady, need: Need, found: object, parent: Answer
    ) -> CallFailed | None:
        if isinstance(found, CallFailed):
            return found
        if need.container is not None:
            return self._answers.give_argument(call, need, found, parent)
        if not isinstance(found, Exported):
            return not_callable()
        call.exported = found
        return None

    def _check_given(self, export: int) -> None:
        if export > self._last_export:
            raise RemoteProtocolError(
                f"reference {export} was named; the last one given is {self._last_export}"
            )


def find_promised(arguments: list[Any]) -> Sequence[Named]:
    """Find the names of answers in a call's arguments: where they stand, and what they name."""
    found: list[Named] = []
    containers: list[Any] = [arguments]
    for container in containers:
        items = container.items() if type(container) is dict else enumerate(container)
        for key, item in items:
            if type(item) is Promised:
                found.append((container, key, item))
            elif type(item) in CONTAINERS:
                containers.append(item)
    return found
