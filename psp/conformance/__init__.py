"""Does it speak PSP/1? Numbered cases, and runners against a live subject or a live controller.

`python -m psp.conformance subject …` and `python -m psp.conformance controller …`; see
docs/conformance.md.
"""

from ._cases import FILES as FILES
from ._cases import Case as Case
from ._cases import from_hex as from_hex
from ._cases import load as load
from ._controller import WHAT_TO_DO as WHAT_TO_DO
from ._controller import controller_scripts as controller_scripts
from ._controller import run_controller as run_controller
from ._doors import dials as dials
from ._doors import dials_plain as dials_plain
from ._doors import listens as listens
from ._doors import listens_plain as listens_plain
from ._outcome import Outcome as Outcome
from ._outcome import is_conformant as is_conformant
from ._outcome import summary as summary
from ._outcome import to_json_text as to_json_text
from ._render import from_json as from_json
from ._render import to_json as to_json
from ._subject import run_subject as run_subject
