"""Keeping the claim on a row while its job works outside of a transaction."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from services.errors import ServiceUnavailable, said
from services.job_claims import Claim, keep_claim
from services.mall import Mall
from services.transaction import reading

_TRY_AGAIN_S = 1.0

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def kept(mall: Mall, claim: Claim) -> AsyncGenerator[asyncio.Event]:
    """Keep a claimed row from falling due; the event is set when the claim is lost."""
    lost = asyncio.Event()
    keeper = asyncio.create_task(_keep(mall, claim, lost))
    try:
        yield lost
    finally:
        keeper.cancel()
        await asyncio.wait({keeper})


async def _keep(mall: Mall, claim: Claim, lost: asyncio.Event) -> None:
    resend_s = mall.settings.jobs.job_resend_s
    wait_s = resend_s / 3
    while True:
        await asyncio.sleep(wait_s)
        try:
            async with reading(mall.stores.read) as session:  # one statement, which stands alone
                due_at = mall.clock() + timedelta(seconds=resend_s)
                is_ours = await keep_claim(session, claim, due_at)
        except ServiceUnavailable as error:  # at worst the row falls due and another takes it
            _log.warning("claim_not_kept", id=claim.id, error=said(error))
            wait_s = min(_TRY_AGAIN_S, resend_s / 3)
            continue
        wait_s = resend_s / 3
        if not is_ours:
            lost.set()
            return
