"""`psp totebox serve`: one archive by itself, as a service of this machine."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import Parameter

from psp.console import neutral
from psp.errors import PSPError
from psp.totebox import (
    Confinement,
    Readiness,
    confine,
    listen_for_readers,
    numeric_host,
    serve_archive,
)
from psp.transport import runtime_directory

from ._common import err, out, print_json


def serve(
    directory: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    metrics_port: int | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Serve one archive to the machines that are paired with it, until SIGTERM or Ctrl-C.

    The process confines itself first. It tells systemd when it answers (Type=notify), and when
    stopped lets what is in flight end, for five seconds at most.

    Parameters
    ----------
    directory
        The archive.
    host
        Where to listen.
    port
        0 for any.
    metrics_port
        Answer Prometheus on this port of this machine; needs the extra metrics.
    json
        Print one JSON object when it answers.
    """
    # Before the confinement, after which it could tell nobody.
    with closing(Readiness()) as readiness:
        address = numeric_host(host, port)
        hand_over = listen_for_readers(directory, runtime_directory(), _log)
        held = confine(directory, port, *([] if metrics_port is None else [metrics_port]))
        serving = partial(
            serve_archive,
            directory,
            host=address,
            port=port,
            log=_log,
            hand_over=hand_over,
            confinement=held,
            metrics_port=metrics_port,
        )
        trio.run(_serve, serving, held, readiness, json)


async def _serve(
    serving: Callable[..., Awaitable[None]], held: Confinement, readiness: Readiness, json: bool
) -> None:
    refusal: PSPError | None = None
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            try:
                host, port = await nursery.start(serving)
            except PSPError as exc:
                refusal = exc  # Kept: out of a nursery it would come as a group.
            else:
                _tell(host, port, held, json=json)
                readiness.ready()
                await anext(aiter(signals))
        readiness.stopping()
        nursery.cancel_scope.cancel()
    if refusal is not None:
        raise refusal


def _tell(host: str, port: int, held: Confinement, *, json: bool) -> None:
    if json:
        print_json({"host": host, "port": port, "confinement": str(held)})
    else:
        out().print(f"serving on {host} port {port} · {held} · Ctrl-C stops", soft_wrap=True)
    sys.stdout.flush()


def _log(text: str) -> None:
    """What an archive tells its owner: whom it refused and why. Peers' names may be in it."""
    err().print(neutral(text))
