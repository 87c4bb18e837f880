"""What was measured: versions, the machine, and the limits in force."""

from __future__ import annotations

import os
import platform
import ssl
from importlib.metadata import PackageNotFoundError, version

from psp.wire import (
    ACCEPT_BYTES_DEFAULT,
    BODY_BYTES_MAX,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_SHARED,
    INITIAL_LIMITS,
)

PACKAGES = (
    "trio",
    "msgpack",
    "cryptography",
    "pycapnp",
    "grpcio",
    "pyarrow",
    "uvloop",
    "biscuit-python",
)


def in_force() -> dict[str, object]:
    """Give the limits of a connection and the versions of everything that takes part."""
    return {
        "psp": {
            **INITIAL_LIMITS._asdict(),
            "body_bytes": BODY_BYTES_MAX,
            "chunk_bytes": CHUNK_BYTES_MAX,
            "chunk_bytes_while_others_ask": CHUNK_BYTES_SHARED,
            "accept_bytes": ACCEPT_BYTES_DEFAULT,
        },
        "machine": {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "openssl": ssl.OPENSSL_VERSION,
        },
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
