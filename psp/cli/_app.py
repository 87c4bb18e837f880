"""The command's tree. Each command is imported when it is used, and no other: who looks at a key
should not wait for the libraries of an archive.
"""

from __future__ import annotations

from typing import Final

from cyclopts import App

from psp._version import __version__

from ._apart import HAS_AGGREGATOR, OF_THE_AGGREGATOR, without_aggregator

GROUPS: Final = {
    "estate": "Make an estate from files of your own.",
    "grant": "Read, check, narrow, issue and take back grants.",
    "key": "Make and seal the key files of people.",
    "totebox": "Look after one archive by itself.",
}

COMMANDS: Final = {
    "aggregator": "_aggregator:aggregator",
    "archive": "_archive:archive",
    "ask": "_ask:ask",
    "attack": "_attack:attack",
    "console": "_console:console",
    "decode": "_decode:decode",
    "demo": "_demo:demo",
    "direct": "_direct:direct",
    "doctor": "_doctor:doctor",
    "epoch": "_owner:epoch",
    "estate new": "_estate:new",
    "fleet": "_fleet:fleet",
    "grant issue": "_grant_sign:issue_grant",
    "grant narrow": "_grant_sign:narrow_grant",
    "grant revoke": "_owner:revoke",
    "grant show": "_grant:show",
    "grant verify": "_grant:verify",
    "key certificate": "_key:certificate",
    "key new": "_key:new",
    "key passphrase": "_key:passphrase",
    "key rotate": "_owner:rotate",
    "key show": "_key:show",
    "ledger": "_ledger:ledger",
    "pair": "_pair:pair",
    "policy": "_policy:policy",
    "status": "_ask:status",
    "totebox archive": "_lifecycle:close",
    "totebox audit": "_totebox:audit",
    "totebox clock": "_owner:clock",
    "totebox pack": "_totebox:pack",
    "totebox preview": "_preview:preview",
    "totebox reassert": "_owner:reassert",
    "totebox resume": "_lifecycle:resume",
    "totebox serve": "_serve:serve",
    "totebox suspend": "_lifecycle:suspend",
    "totebox unpack": "_totebox:unpack",
    "trace": "_trace:trace",
    "up": "_estate:up",
    "verify": "_verify:verify",
    "view": "_view:view",
}
"""Where each command is, or the tree of a group that has a file to itself."""


app = App(
    name="psp",
    version=__version__,
    help="Ask many sovereign archives one question. No record moves.",
)
_GROUPS: Final = {name: App(name=name, help=text) for name, text in GROUPS.items()}
for _group in _GROUPS.values():
    app.command(_group)
for _words, _place in COMMANDS.items():
    _above, _, _name = _words.rpartition(" ")
    if HAS_AGGREGATOR or _words not in OF_THE_AGGREGATOR:
        _GROUPS.get(_above, app).command(f"psp.cli.{_place}", name=_name)
    else:
        _GROUPS.get(_above, app).command(without_aggregator, name=_name, show=False)
app.register_install_completion_command()


def run() -> None:
    """Run what this process was asked for."""
    words, path, _ = app.parse_commands()
    asks_help = bool(words) and words[-1] in app.help_flags
    shown = path[-2] if asks_help else path[-1]
    if asks_help or shown.default_command is None:
        # A list of commands has the first words of each, which stand where the commands are.
        shown.resolved_commands()
    app()
