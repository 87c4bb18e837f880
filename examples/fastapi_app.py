"""GET /TABLE/count/COLUMN: ESTATE=harbour/estate.toml uvicorn --app-dir examples fastapi_app:app"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.encoders import jsonable_encoder

import psp
from psp.aggregator import Roster
from psp.plan import GroupKey, Measure, Plan

roster = Roster.load(os.environ["ESTATE"])
tenant, member = roster.tenant(), roster.members[0]


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[None]:
    key = psp.MachineKey.load(tenant.key_file)
    async with psp.aio.connect(member.address, key=key) as app.state.archive:
        yield


app = FastAPI(lifespan=connected)


@app.get("/{table}/count/{column}")
async def count(table: str, column: str, request: Request) -> Any:
    plan = Plan(table=table, group=(GroupKey(column),), measures=(Measure(psp.Operation.COUNT),))
    granted = request.app.state.archive.present(tenant.token_for(member.name))
    try:  # Nothing is awaited before this line: three calls, one round trip.
        answer = await granted.call("table", table).call("query", plan.to_wire(), is_last=True)
    except psp.CallFailed as failure:
        raise HTTPException(403, f"{failure.word}: {failure}") from failure
    return jsonable_encoder(answer, custom_encoder={bytes: bytes.hex, Decimal: str})
