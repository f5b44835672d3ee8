"""A running mall: the stores, the rules of time, and the desks where movements are settled.

Built once per process at the edge and handed to whoever serves requests or runs jobs.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

from models.stores import Stores, open_stores
from services.calendar import Clock, system_clock
from services.errors import VerificationRequired
from services.exchange.decide import ExchangeRequest, Placed
from services.exchange.fulfil import step_exchanges
from services.exchange.place import place_exchanges
from services.exchange.redeem import Redeemed, Redemption, redeem_coupons
from services.exchange.states import Step, Stepped
from services.group_commit import GroupCommit, OutcomeT, RequestT, Settle
from services.leaderboard.movements import Movements
from services.leaderboard.profiles import Profiles
from services.leaderboard.questions import Questions
from services.leaderboard.ranking import Ranking
from services.limits.limiter import Limiter, open_limiter
from services.limits.rates import rates_of
from services.monitoring.health import HealthCheck
from services.monitoring.metrics import Metrics
from services.monitoring.open import open_metrics
from services.monitoring.rules import thresholds_of
from services.monitoring.shared_figures import SharedFigures
from services.monitoring.sightings import Sightings
from services.monitoring.tracing import Tracer, open_tracer
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
from services.users.profile import Identity, Login, create_users, find_users, note_logins
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
    metrics: Metrics
    figures: SharedFigures
    tracer: Tracer | None
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
    logins: GroupCommit[Login, None]
    renames: GroupCommit[Claims, None]
    movements: Movements
    questions: Questions
    ranking: Ranking
    profiles: Profiles
    visits: GroupCommit[Visit, None]
    sightings: Sightings
    """What this process noticed that operators should know of."""
    health: HealthCheck
    limiter: Limiter


class _Opened(NamedTuple):
    """What the desks of a mall are made of."""

    stores: Stores
    metrics: Metrics
    tracer: Tracer | None
    limiter: Limiter
    movements: Movements
    tokens: TokenVerifier
    captcha: CaptchaVerifier


@asynccontextmanager
async def open_mall(settings: Settings, clock: Clock = system_clock) -> AsyncGenerator[Mall]:
    """Open the stores and the clients; closes them at the end. Neither store must be up yet."""
    rules = {RULES_KEY: velocity_rules(settings.limits)}
    async with (
        open_stores(settings.stores, rules) as stores,
        open_metrics(settings, stores) as metrics,
        open_tracer(settings, stores.engine) as tracer,
        open_limiter(stores.redis, rates_of(settings.limits), metrics.count_refusal) as limiter,
    ):
        metrics.samples.append(lambda: metrics.counted_alone.set(limiter.is_alone))
        captcha = CaptchaVerifier(settings.captcha)
        tokens = TokenVerifier(settings.access)
        movements = Movements(stores, clock, settings.mall.zone)
        for sessions in (stores.write, stores.bulk):
            sessions.after_commit.extend([movements.hear, metrics.hear])
        opened = _Opened(stores, metrics, tracer, limiter, movements, tokens, captcha)
        mall = _mall(settings, clock, opened)
        try:
            yield mall
        finally:
            await mall.sightings.aclose()
            await movements.aclose()
            await mall.questions.aclose()
            await mall.ranking.aclose()
            await captcha.aclose()
            await tokens.aclose()


def _mall(settings: Settings, clock: Clock, opened: _Opened) -> Mall:
    stores, metrics, captcha = opened.stores, opened.metrics, opened.captcha
    zone = settings.mall.zone
    thresholds = thresholds_of(settings.alerting)
    refusal = partial(VerificationRequired, captcha.provider, captcha.site_key)
    place = partial(place_exchanges, clock=clock, zone=zone, captcha=refusal)
    complete = partial(complete_tasks, clock=clock, zone=zone, captcha=refusal)
    sign_in = partial(
        check_in,
        clock=clock,
        zone=zone,
        captcha=refusal if settings.captcha.captcha_check_in else None,
    )

    def desk(name: str, settle: Settle[RequestT, OutcomeT]) -> GroupCommit[RequestT, OutcomeT]:
        observe, arriving = metrics.desk(name), opened.limiter.answering
        return GroupCommit(stores.write, settle, observe, name, opened.tracer, arriving)

    return Mall(
        settings=settings,
        stores=stores,
        clock=clock,
        zone=zone,
        metrics=metrics,
        figures=SharedFigures(stores.read, clock),
        tracer=opened.tracer,
        tokens=opened.tokens,
        captcha=captcha,
        exchanges=desk("exchanges", place),
        completions=desk("completions", complete),
        check_ins=desk("check_ins", sign_in),
        steps=desk("steps", partial(step_exchanges, clock=clock, zone=zone)),
        redemptions=desk("redemptions", partial(redeem_coupons, clock=clock)),
        grants=desk("grants", partial(grant_points, clock=clock, zone=zone)),
        reversals=desk("reversals", partial(reverse_grants, clock=clock, zone=zone)),
        adjustments=desk("adjustments", partial(adjust_points, clock=clock, zone=zone)),
        extensions=desk("extensions", partial(extend_lots, clock=clock, zone=zone)),
        sign_ins=GroupCommit(
            stores.read,
            partial(find_users, clock=clock, zone=zone),
            observe=metrics.desk("sign_ins"),
        ),
        sign_ups=desk("sign_ups", partial(create_users, zone=zone, clock=clock)),
        logins=desk("logins", partial(note_logins, clock=clock, zone=zone)),
        renames=desk("renames", rename_users),
        movements=opened.movements,
        questions=Questions(stores.redis),
        ranking=Ranking(stores.bulk, zone),
        profiles=Profiles(),
        visits=desk("visits", partial(count_visits, clock=clock, zone=zone)),
        limiter=opened.limiter,
        sightings=Sightings(stores.bulk, clock, thresholds),
        health=HealthCheck(stores, clock, thresholds),
    )
