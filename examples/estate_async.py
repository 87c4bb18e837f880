"""The same with `await`, on asyncio: python examples/estate_async.py FILE..."""

import asyncio
import sys
import tempfile
from pathlib import Path

import psp
from psp.estate import create_estate, draft_estate


async def main(files: list[Path], directory: Path) -> None:
    estate = create_estate(draft_estate(directory / "harbour", files))
    with estate.serve():
        async with psp.Fleet(estate.layout.file) as fleet:
            question = f"select member, count(*) as rows from {estate.table} group by member"
            answer = await fleet.ask(question)
            print(answer)


with tempfile.TemporaryDirectory() as temporary:
    asyncio.run(main([Path(name) for name in sys.argv[1:]], Path(temporary)))
