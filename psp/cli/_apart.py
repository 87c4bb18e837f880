"""Where psp is installed without `psp.aggregator`: what stands in the place of its commands."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Final

from cyclopts import Parameter

from psp.errors import EstateError

HAS_AGGREGATOR: Final = find_spec("psp.aggregator") is not None

OF_THE_AGGREGATOR: Final = frozenset(
    {"aggregator", "ask", "attack", "console", "demo", "doctor", "estate new", "fleet", "status"}
    | {"up", "view"}
)
"""Commands that ask, or make, an estate of many archives."""


def without_aggregator(
    *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
) -> None:
    """Say what is missing here.

    Raises:
        EstateError: Always.
    """
    del words
    raise EstateError(
        "this command asks many archives, and psp is installed here without psp.aggregator. Ask one"
        " archive with `psp direct ask`, or install the whole of it: pip install psp-protocol"
    )
