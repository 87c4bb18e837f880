"""Time that passes only when a test says so."""

from __future__ import annotations


class VirtualClock:
    """A clock to hand to a core, a `Link`, or anything that takes the time as a number.

    Attributes:
        now_ms: Milliseconds since the test began; give it to `Subject.receive`.
    """

    def __init__(self, now_ms: int = 0) -> None:
        self.now_ms = now_ms

    def __call__(self) -> float:
        """The same in seconds, for code that takes a function like `time.monotonic`."""
        return self.now_ms / 1000

    def advance(self, ms: int) -> None:
        """Let time pass.

        Raises:
            ValueError: It would run backwards.
        """
        if ms < 0:
            raise ValueError(f"advance({ms}): time only moves forward; give 0 or more milliseconds")
        self.now_ms += ms
