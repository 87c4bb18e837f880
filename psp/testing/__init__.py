"""Helpers for tests of psp and of what is built on it."""

from ._far import Far as Far
from ._pair import Pair as Pair
