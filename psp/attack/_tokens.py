"""Attacks that are one token, shown by a paired machine: what is shown, and what must stop it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ._forger import Forger


class TokenAttack(NamedTuple):
    """One token that must be refused."""

    name: str
    tried: str
    make: Callable[[Forger], bytes]


TOKEN_ATTACKS: Final = (
    TokenAttack("stolen token", "a good token, made out to another machine", Forger.stolen),
    TokenAttack("expired", "a token whose time ended a second ago", Forger.expired),
    TokenAttack("too early", "a token that begins in a minute", Forger.too_early),
    TokenAttack("too long", "a first link of eight days", Forger.too_long),
    TokenAttack("wrong archive", "a token for another archive", Forger.elsewhere),
    TokenAttack("wrong epoch", "a token of the epoch before", Forger.former_epoch),
    TokenAttack("own anchor", "a chain that begins with a key of one's own", Forger.own_anchor),
    TokenAttack("splice", "a second link lifted onto another first one", Forger.spliced),
    TokenAttack("dropped link", "a chain without its first link", Forger.dropped),
    TokenAttack("doubled link", "a chain with its second link twice", Forger.doubled),
    TokenAttack("after the end", "a link behind one that allows none", Forger.after_the_end),
    TokenAttack("re-signed body", "a link signed by another key than its issuer", Forger.resigned),
    TokenAttack("changed body", "a wider scope under the old signature", Forger.changed),
    TokenAttack("bare signature", "a link signed without the tag of its type", Forger.untagged),
    TokenAttack("unknown extension", "a restriction that nobody can know", Forger.extended),
    TokenAttack("weak key", "a holder under whose key anybody can sign", Forger.weak),
    TokenAttack("second encoding", "a good token and one byte more", Forger.padded),
)
