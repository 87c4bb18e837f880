"""A small recorded connection, for the commands that read one."""

from __future__ import annotations

from pathlib import Path

from psp.endpoint import Recorder
from psp.wire import FrameWriter, Role, chunk_frame

SECRET = "Mrs Example"


def sent(*places: object) -> bytes:
    writer = FrameWriter()
    writer.write(places)
    return writer.take()


FROM_CONTROLLER = (
    sent(0, [1], {}, [])
    + sent(2, 1, 0, "table", [SECRET], 30_000, 1024, 1, None)
    + sent(2, 2, [1, [SECRET]], "rows", [], 30_000, 4, 0, None)
    + sent(2, 3, 0, "wait", [], 30_000, 1024, 2, None)
)
FROM_SUBJECT = (
    (0.040, sent(17, 1, 0, None)),
    (0.040, sent(17, 2, 3, {"name": SECRET})),
    (0.060, bytes(chunk_frame(2, memoryview(b"Mrs ")))),
    (0.080, sent(20, 2, [13, 1, "c-9", SECRET])),
)


def record(file: Path) -> Path:
    """Write a capture: three calls in one flight; one becomes a stream, one is never answered."""
    now_s = 5.0
    with file.open("w", encoding="utf-8") as lines:
        recorder = Recorder(lines.write, role=Role.CONTROLLER, clock=lambda: now_s)
        recorder("out", FROM_CONTROLLER)
        for after_s, data in FROM_SUBJECT:
            now_s = 5.0 + after_s
            recorder("in", data)
        recorder.close()
    return file
