"""Hostile Arrow streams: what is refused, and that nothing of it crashes or allocates.

PSP_ARROW_STREAMS is how many are mutated; 60,000 take some minutes.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections import Counter

import pyarrow as pa
import pytest

from psp.buffers import arrow_layout_untrusted
from psp.errors import MalformedFrame

from .arrow_mutations import bases

STREAMS = int(os.environ.get("PSP_ARROW_STREAMS", "400"))
FIRST_SEED = int(os.environ.get("PSP_FIRST_SEED", "0"))
CHILDREN = 2


@pytest.mark.slow
def test_no_mutated_stream_crashes_its_reader_or_makes_it_allocate() -> None:
    said: Counter[str] = Counter()
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.attacks.arrow_mutations", str(seed), str(each)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(FIRST_SEED, FIRST_SEED + CHILDREN)
        for each in (STREAMS // CHILDREN,)
    ]
    for child in children:
        out, _ = child.communicate()
        assert child.returncode == 0, f"a child ended with {child.returncode}"
        said.update(json.loads(out))
    assert said["streams"] == STREAMS // CHILDREN * CHILDREN
    # It is a test only if much was refused, and much was let through and used.
    for what in ("refused by our check", "refused at first use", "columns used", "tables used"):
        assert said[what] > STREAMS // 200, said


def refusal(data: bytes) -> str:
    with pytest.raises(MalformedFrame) as caught:
        arrow_layout_untrusted(memoryview(data))
    return str(caught.value)


def stream(column: object, *, metadata: dict[str, str] | None = None, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"a": column}).replace_schema_metadata(metadata)
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.nulls(3), "number 1 of Arrow's list"),
        (pa.array([[1]]), "columns inside"),
        (pa.array([{"a": 1}]), "columns inside"),
        (pa.array(["a"]).dictionary_encode(), "a dictionary"),
        (pa.array(["a"], pa.string_view()), "number 24"),
        (pa.array([1.0], pa.float16()), "float of precision 0"),
        (pa.array([0], pa.date64()), "date in milliseconds"),
        (pa.array([0], pa.timestamp("s", "../../etc/x")), "strange name"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "",
)
def test_an_unusual_type_is_refused_by_name(column: object, says: str) -> None:
    assert says in refusal(stream(column))


def test_compression_and_metadata_are_refused_before_anything_is_unpacked() -> None:
    zeros = pa.array([0] * 100_000)
    assert "compressed" in refusal(stream(zeros, compression="zstd"))
    assert "metadata" in refusal(stream(zeros, metadata={"pandas": "x"}))
    field = pa.field("a", pa.int64(), metadata={"ARROW:extension:name": "x"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([field])):
        pass
    assert "metadata" in refusal(sink.getvalue().to_pybytes())


def test_every_shorter_stream_is_refused() -> None:
    data = stream(pa.array(["a", None, "b"]))
    arrow_layout_untrusted(memoryview(data))
    for size in range(len(data)):
        refusal(data[:size])
    assert "follow the end" in refusal(data + bytes(8))


def test_no_number_in_a_head_leads_out_of_the_bytes() -> None:
    """Each word of each head, replaced by each odd number: refused, or every span lies inside."""
    for data in bases()[:24]:
        for place in range(0, min(len(data), 800) - 4, 4):
            for odd in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
                changed = bytearray(data)
                struct.pack_into("<I", changed, place, odd)
                try:
                    layout = arrow_layout_untrusted(memoryview(changed))
                except MalformedFrame:
                    continue
                for parts in layout.parts:
                    for part in parts:
                        for span in (part.validity or (0, 0), *part.buffers):
                            assert 0 <= span[0] <= span[0] + span[1] <= len(data)
                        assert part.rows <= 8 * len(data)
