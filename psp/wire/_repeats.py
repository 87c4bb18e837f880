"""Frames that are equal but for their number: what a loop of calls, or of answers, consists of."""

from __future__ import annotations

from ._layout import KIND_END, NUMBER_FORMS


def repeats_untrusted(data: bytes, start: int, end: int) -> list[int]:
    """Give the numbers of the frames after a plain one that are equal to it but for their number.

    Whoever asks or answers in a loop sends such runs. What is the same bytes need not be decoded
    and checked again: a third of what that costs.
    """
    number_at = start + KIND_END
    form = NUMBER_FORMS.get(data[number_at])
    if form is None:
        return []
    head, tail = data[start : number_at + 1], data[number_at + 1 + form.size : end]
    to_number, to_tail, size = len(head), len(head) + form.size, end - start
    numbers: list[int] = []
    while data.startswith(head, end) and data.startswith(tail, end + to_tail):
        number: int = form.unpack_from(data, end + to_number)[0]
        if not number:
            break  # No question has it: let it be refused as any other malformed frame.
        numbers.append(number)
        end += size
    return numbers
