"""The command's tree. Each group of commands lives in a file of its name."""

from __future__ import annotations

from cyclopts import App

from psp._version import __version__

from ._archive import archive
from ._ask import ask, status
from ._attack import attack
from ._decode import decode
from ._demo import demo
from ._estate import new, up
from ._grant import grant
from ._grant_sign import issue_command as issue_command
from ._key import new as key_new
from ._key import passphrase, show
from ._ledger import ledger
from ._owner import epoch, revoke
from ._pair import pair
from ._policy import policy
from ._totebox import audit, pack, unpack
from ._trace import trace
from ._verify import verify

app = App(
    name="psp",
    version=__version__,
    help="Ask many sovereign archives one question. No record moves.",
)
app.command(demo)
estate = App(name="estate", help="Make an estate from files of your own.")
estate.command(new)
app.command(estate)
app.command(archive)
key = App(name="key", help="Make and seal the key files of people.")
key.command(key_new, name="new")
key.command(show)
key.command(passphrase)
app.command(key)
totebox = App(name="totebox", help="Look after one archive by itself.")
totebox.command(audit)
totebox.command(pack)
totebox.command(unpack)
app.command(totebox)
grant.command(revoke)
app.command(epoch)
app.command(pair)
app.command(up)
app.command(ask)
app.command(status)
app.command(attack)
app.command(decode)
app.command(trace)
app.command(ledger)
app.command(grant)
app.command(policy)
app.command(verify)
app.register_install_completion_command()
