"""A running mall: the stores, the rules of time, and the desks where movements are settled.

Built once per process at the edge and handed to whoever serves requests or runs jobs.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from zoneinfo import ZoneInfo

from models.stores import Stores, open_stores
from services.calendar import Clock, system_clock
from services.errors import VerificationRequired
from services.exchange.decide import ExchangeRequest, Placed
from services.exchange.fulfil import step_exchanges
from services.exchange.place import place_exchanges
from services.exchange.redeem import Redeemed, Redemption, redeem_coupons
from services.exchange.states import Step, Stepped
from services.group_commit import GroupCommit
from services.leaderboard.movements import Movements
from services.leaderboard.profiles import Profiles
from services.leaderboard.questions import Questions
from services.leaderboard.ranking import Ranking
from services.limits.limiter import Limiter, open_limiter
from services.limits.rates import rates_of
from services.points.adjust import Adjusted, AdjustmentRequest, adjust_points
from services.points.extend import Extended, ExtensionRequest, extend_lots
from services.points.grant import Granted, GrantRequest, grant_points
from services.points.reverse import ReversalRequest, Reversed, reverse_grants
from services.points.velocity import RULES_KEY, velocity_rules
from services.sharing.visits import Visit, count_visits
from services.tasks.check_in import CheckedIn, CheckInRequest, check_in
from services.tasks.complete import Completed, CompletionRequest, complete_tasks
from services.users.captcha import CaptchaVerifier
from services.users.claims import Claims
from services.users.profile import Identity, create_users, find_users, note_logins
from services.users.renames import rename_users
from services.users.tokens import TokenVerifier
from settings import Settings


@dataclass(frozen=True, slots=True)
class Mall:
    """What serving a request needs. What many ask for at once is settled in groups."""

    settings: Settings
    stores: Stores
    clock: Clock
    zone: ZoneInfo
    tokens: TokenVerifier
    captcha: CaptchaVerifier
    exchanges: GroupCommit[ExchangeRequest, Placed]
    completions: GroupCommit[CompletionRequest, Completed]
    check_ins: GroupCommit[CheckInRequest, CheckedIn]
    steps: GroupCommit[Step, Stepped]
    redemptions: GroupCommit[Redemption, Redeemed]
    grants: GroupCommit[GrantRequest, Granted]
    reversals: GroupCommit[ReversalRequest, Reversed]
    adjustments: GroupCommit[AdjustmentRequest, Adjusted]
    extensions: GroupCommit[ExtensionRequest, Extended]
    sign_ins: GroupCommit[Claims, Identity | None]
    sign_ups: GroupCommit[Claims, Identity | None]
    logins: GroupCommit[int, None]
    renames: GroupCommit[Claims, None]
    movements: Movements
    questions: Questions
    ranking: Ranking
    profiles: Profiles
    visits: GroupCommit[Visit, None]
    limiter: Limiter


@asynccontextmanager
async def open_mall(settings: Settings, clock: Clock = system_clock) -> AsyncGenerator[Mall]:
    """Open the stores and the clients; closes them at the end. Neither store must be up yet."""
    rates = rates_of(settings.limits)
    rules = {RULES_KEY: velocity_rules(settings.limits)}
    async with (
        open_stores(settings.stores, rules) as stores,
        open_limiter(stores.redis, rates) as limiter,
    ):
        captcha = CaptchaVerifier(settings.captcha)
        tokens = TokenVerifier(settings.access)
        movements = Movements(stores, clock, settings.mall.zone)
        stores.write.after_commit.append(movements.hear)
        stores.bulk.after_commit.append(movements.hear)
        mall = _mall(settings, stores, clock, tokens, captcha, movements, limiter)
        try:
            yield mall
        finally:
            await movements.aclose()
            await mall.questions.aclose()
            await mall.ranking.aclose()
            await captcha.aclose()
            await tokens.aclose()


def _mall(
    settings: Settings,
    stores: Stores,
    clock: Clock,
    tokens: TokenVerifier,
    captcha: CaptchaVerifier,
    movements: Movements,
    limiter: Limiter,
) -> Mall:
    zone = settings.mall.zone
    refusal = partial(VerificationRequired, captcha.provider, captcha.site_key)
    place = partial(place_exchanges, clock=clock, zone=zone, captcha=refusal)
    complete = partial(complete_tasks, clock=clock, zone=zone, captcha=refusal)
    sign_in = partial(
        check_in,
        clock=clock,
        zone=zone,
        captcha=refusal if settings.captcha.captcha_check_in else None,
    )
    return Mall(
        settings=settings,
        stores=stores,
        clock=clock,
        zone=zone,
        tokens=tokens,
        captcha=captcha,
        exchanges=GroupCommit(stores.write, place),
        completions=GroupCommit(stores.write, complete),
        check_ins=GroupCommit(stores.write, sign_in),
        steps=GroupCommit(stores.write, partial(step_exchanges, clock=clock, zone=zone)),
        redemptions=GroupCommit(stores.write, partial(redeem_coupons, clock=clock)),
        grants=GroupCommit(stores.write, partial(grant_points, clock=clock, zone=zone)),
        reversals=GroupCommit(stores.write, partial(reverse_grants, clock=clock, zone=zone)),
        adjustments=GroupCommit(stores.write, partial(adjust_points, clock=clock, zone=zone)),
        extensions=GroupCommit(stores.write, partial(extend_lots, clock=clock, zone=zone)),
        sign_ins=GroupCommit(stores.read, partial(find_users, clock=clock)),
        sign_ups=GroupCommit(stores.write, partial(create_users, timezone=zone.key, clock=clock)),
        logins=GroupCommit(stores.write, partial(note_logins, clock=clock)),
        renames=GroupCommit(stores.write, rename_users),
        movements=movements,
        questions=Questions(stores.redis),
        ranking=Ranking(stores.bulk, zone),
        profiles=Profiles(),
        visits=GroupCommit(stores.write, partial(count_visits, clock=clock, zone=zone)),
        limiter=limiter,
    )
