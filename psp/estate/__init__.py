"""An estate on the operator's machine: made from files, served, granted."""

from ._console import ConsoleDraft as ConsoleDraft
from ._console import Hub as Hub
from ._console import create_console as create_console
from ._console import renew_console as renew_console
from ._draft import Draft as Draft
from ._draft import draft_estate as draft_estate
from ._estate import Estate as Estate
from ._estate import create_estate as create_estate
from ._policy import ADMINISTRATOR as ADMINISTRATOR
from ._policy import OWNER as OWNER
from ._policy import TenantPolicy as TenantPolicy
from ._servers import Servers as Servers
