"""Does it speak PSP/1? Numbered cases, and runners against a live subject or a live controller.

`python -m psp.conformance subject …` and `python -m psp.conformance controller …`; see
docs/conformance.md.
"""

from ._cases import FILES as FILES
from ._cases import Case as Case
from ._cases import from_hex as from_hex
from ._cases import load as load
from ._render import from_json as from_json
from ._render import to_json as to_json
