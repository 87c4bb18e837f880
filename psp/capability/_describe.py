"""A token as a person reads it: who, what, until when, through whom, narrowed by whom."""

from __future__ import annotations

from datetime import UTC, datetime

from ._keys import fingerprint, spki_hash_of
from ._link import Link, decode_chain_untrusted, met_scope
from ._scope import Scope
from ._sentence import removed, scope_sentence

_YEAR_9999_S = 253402300799


def describe(token: bytes) -> str:
    """Say what a token claims, link by link. Nothing is verified; the signatures are not printed.

    Raises:
        GrantRefused: It cannot be read. Nothing else is raised.
    """
    chain = decode_chain_untrusted(token)
    links = chain.links
    ends = min(link.not_after_s for link in links)
    lines = [
        "Nothing here is verified: this is what the token claims.",
        f"archive    {links[0].archive_id.hex()}, epoch {links[0].epoch}",
        f"grant      {chain.ids()[-1].hex()}",
        f"allows     {scope_sentence(met_scope(links))}",
        f"until      {_time(ends)}",
        f"presented by  {fingerprint(links[-1].presenter)}",
    ]
    allowed: Scope | None = None
    for index, link in enumerate(links):
        lines += ["", f"link {index}", *_link_lines(link)]
        if link.archive_id != links[0].archive_id:
            lines.append(f"  archive    {link.archive_id.hex()}, another one: it will be refused")
        met = link.scope if allowed is None else allowed.meet(link.scope)
        if allowed is not None:
            gone = removed(allowed, met)
            lines.append(f"  takes away {'; '.join(gone) if gone else 'nothing'}")
        allowed = met
    return "\n".join([*lines, ""])


def _link_lines(link: Link) -> list[str]:
    tree_size = link.seen.tree_size
    after = f"{link.depth} more may follow" if link.depth else "nothing may follow"
    lines = [
        f"  signed by  {fingerprint(spki_hash_of(link.issuer))}",
        f"  for        {fingerprint(spki_hash_of(link.holder))}; {after}",
        f"  from       {_time(link.not_before_s)} until {_time(link.not_after_s)}",
        f"  ledger     {f'seen at {tree_size} entries' if tree_size else 'never seen'}",
    ]
    if link.critical:
        lines.append(f"  extensions {list(link.critical)}, unknown here: it will be refused")
    return lines


def _time(seconds: int) -> str:
    if seconds > _YEAR_9999_S:  # Signed integers go further than calendars.
        return f"second {seconds}"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
