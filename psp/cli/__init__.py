"""The command `psp`. Thin: every command is a few lines over the layers below."""

from __future__ import annotations

import sys

from psp.errors import MissingExtra, PSPError


def main() -> None:
    """Run one command; leave with 0, with 1 and one sentence, or with 130 after Ctrl-C."""
    try:
        _run()
    except PSPError as exc:
        # One sentence and a remedy. A traceback is for our own faults, which are not PSPErrors.
        print(f"psp: {exc}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("psp: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)  # The reader of our output left, as `head` does; nothing is wrong.


def _run() -> None:
    """Run the command, with the libraries it needs.

    Raises:
        MissingExtra: They are not installed.
    """
    try:
        from ._app import run

        run()
    except ImportError as exc:
        # A command that is imported late tells of its import, and that of the library's.
        missing = exc if isinstance(exc, ModuleNotFoundError) else exc.__cause__
        name = missing.name if isinstance(missing, ModuleNotFoundError) else None
        library = (name or "psp").partition(".")[0]
        if library == "psp":
            raise
        raise MissingExtra("the command line", library=library, extra="demo") from None
