"""PSP: ask many sovereign archives one question."""

from psp._version import __version__ as __version__
