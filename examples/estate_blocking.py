"""From CSV files to one answer, in a plain script: python examples/estate_blocking.py FILE..."""

import sys
import tempfile
from pathlib import Path

import psp
from psp.estate import create_estate, draft_estate

with tempfile.TemporaryDirectory() as directory:
    draft = draft_estate(Path(directory) / "harbour", [Path(name) for name in sys.argv[1:]])
    estate = create_estate(draft)  # Calling it is the approval: look at draft.table first.
    with estate.serve(), psp.Fleet(estate.layout.file) as fleet:
        answer = fleet.ask(f"select member, count(*) as rows from {estate.table} group by member")
        print(answer)
        for absent in answer.absent:
            print(f"{absent.member} is {absent.state.value}: {absent.error}")
