"""What figures decide: pure, so tried with any figures there could be."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitoring.alerts import EVENTS, AlertKind
from services.monitoring.figures import Figures
from services.monitoring.gains import MOST_GAINS, Gain, figures_of, gains_of
from services.monitoring.rules import RULES, Thresholds, judge, thresholds_of
from settings import AlertingSettings, SettingsError

_counts = st.none() | st.integers(0, 10**12)
_rates = st.none() | st.floats(0, 1)
_spans_s = st.floats(0, 10**6)
_gains = st.builds(Gain, st.integers(1, 10**9), st.integers(0, 10**12))
FIGURES = st.builds(
    Figures,
    members=_counts,
    active_users_24h=_counts,
    active_users_30d=_counts,
    expiring_points_7d=_counts,
    exchange_rate=_rates,
    expiry_rate_30d=_rates,
    largest_gains_1h=st.none() | st.lists(_gains, max_size=MOST_GAINS).map(tuple),
    gone_points_30d=_counts,
    outbox_lag_s=_spans_s,
    outbox_waiting=st.integers(0, 10**5),
    failed_jobs=st.integers(0, 10**5),
    undelivered_alerts=st.integers(0, 10**5),
    ledger_violations=_counts,
    schedule_silence_s=st.none() | _spans_s,
    measured_at=st.none(),
)
_MEASURED = [
    name
    for name in Figures.__dataclass_fields__
    if name not in {"outbox_lag_s", "outbox_waiting", "failed_jobs", "undelivered_alerts"}
]
UNKNOWN = Figures(
    **dict.fromkeys(_MEASURED, None),
    outbox_lag_s=0.0,
    outbox_waiting=0,
    failed_jobs=0,
    undelivered_alerts=0,
)
WELL = replace(
    UNKNOWN,
    members=1_000,
    active_users_24h=100,
    active_users_30d=500,
    expiring_points_7d=100_000,
    exchange_rate=0.1,
    expiry_rate_30d=0.3,
    largest_gains_1h=(Gain(7, 10_000),),
    gone_points_30d=10_000,
    outbox_lag_s=900.0,
    ledger_violations=0,
    schedule_silence_s=300.0,
)


@given(FIGURES)
def test_nothing_is_both_wrong_and_over(figures: Figures) -> None:
    """And no alert about events is ever resolved by a figure."""
    judgement = judge(figures, Thresholds())
    seen = {sighting.kind for sighting in judgement.seen}
    assert not seen & judgement.over
    assert not judgement.over & EVENTS
    assert seen | judgement.over <= {*RULES, AlertKind.ABNORMAL_GAINS}
    assert all(sighting.message and sighting.occurrences == 1 for sighting in judgement.seen)


@given(FIGURES)
def test_more_of_what_is_wrong_is_no_better(figures: Figures) -> None:
    """An alert that is raised would be raised if it were worse."""
    seen = {sighting.kind for sighting in judge(figures, Thresholds()).seen}
    worse = replace(
        figures,
        exchange_rate=figures.exchange_rate and figures.exchange_rate / 2,
        expiry_rate_30d=figures.expiry_rate_30d and min(1, figures.expiry_rate_30d * 2),
        expiring_points_7d=figures.expiring_points_7d and figures.expiring_points_7d * 2,
        active_users_24h=figures.active_users_24h and figures.active_users_24h // 2,
        largest_gains_1h=figures.largest_gains_1h
        and tuple(Gain(gain.user_id, gain.points * 2) for gain in figures.largest_gains_1h),
        outbox_lag_s=figures.outbox_lag_s * 2,
        failed_jobs=figures.failed_jobs * 2,
        ledger_violations=figures.ledger_violations and figures.ledger_violations * 2,
        schedule_silence_s=figures.schedule_silence_s and figures.schedule_silence_s * 2,
    )
    assert seen <= {sighting.kind for sighting in judge(worse, Thresholds()).seen}


@given(FIGURES, st.sampled_from(_MEASURED))
def test_what_is_unknown_neither_raises_nor_resolves(figures: Figures, name: str) -> None:
    """Whatever else is known, only what stands on other figures is decided."""
    blind = judge(replace(figures, **{name: None}), Thresholds())
    seeing = judge(figures, Thresholds())
    decided = {sighting.kind for sighting in blind.seen} | blind.over
    assert decided <= {sighting.kind for sighting in seeing.seen} | seeing.over


def test_whoever_earned_too_much_is_named() -> None:
    """Not only who earned most, who may be known well."""
    gains = (Gain(7, 50_000), Gain(8, 10_001), Gain(9, 10_000))
    (seen,) = judge(replace(WELL, largest_gains_1h=gains), Thresholds()).seen
    assert seen.facts["user_ids"] == [7, 8]


@given(st.lists(_gains, max_size=MOST_GAINS), st.lists(_gains, max_size=MOST_GAINS))
def test_gains_are_kept_place_by_place(earlier: list[Gain], gains: list[Gain]) -> None:
    """As they were measured, and nothing of what was measured before."""
    assert gains_of({**figures_of(earlier), **figures_of(gains)}) == tuple(gains)
    assert gains_of({}) is None


def test_of_nothing_known_only_what_is_counted_is_well() -> None:
    """A mall that was never measured."""
    judgement = judge(UNKNOWN, Thresholds())
    assert judgement.seen == ()
    assert judgement.over == {
        AlertKind.DEAD_JOBS,
        AlertKind.OUTBOX_LAG,
        AlertKind.ALERTS_UNDELIVERED,
    }


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        (AlertKind.EXCHANGE_RATE_LOW, {"exchange_rate": 0.0999}),
        (AlertKind.EXPIRY_RATE_HIGH, {"expiry_rate_30d": 0.3001}),
        (AlertKind.POINTS_EXPIRING, {"expiring_points_7d": 100_001}),
        (AlertKind.FEW_ACTIVE_USERS, {"active_users_24h": 99}),
        (AlertKind.ABNORMAL_GAINS, {"largest_gains_1h": (Gain(7, 10_001),)}),
        (AlertKind.LEDGER_DRIFT, {"ledger_violations": 1}),
        (AlertKind.DEAD_JOBS, {"failed_jobs": 1}),
        (AlertKind.OUTBOX_LAG, {"outbox_lag_s": 900.1}),
        (AlertKind.SCHEDULE_SILENT, {"schedule_silence_s": 300.1}),
        (AlertKind.ALERTS_UNDELIVERED, {"undelivered_alerts": 1}),
    ],
)
def test_each_threshold_is_where_the_rule_has_it(kind: AlertKind, changed: object) -> None:
    """On it all is well, beyond it just that is wrong."""
    assert judge(WELL, Thresholds()).seen == ()
    worse = replace(WELL, **changed)  # pyright: ignore[reportCallIssue]
    assert [sighting.kind for sighting in judge(worse, Thresholds()).seen] == [kind]


@pytest.mark.parametrize(
    "changed",
    [
        {"exchange_rate": 0.0, "active_users_30d": 99},
        {"expiry_rate_30d": 1.0, "gone_points_30d": 9_999},
        {"active_users_24h": 0, "members": 99},
    ],
)
def test_a_small_mall_is_left_in_peace(changed: object) -> None:
    """Below the floors a share says nothing."""
    assert judge(replace(WELL, **changed), Thresholds()).seen == ()  # pyright: ignore[reportCallIssue]


def test_thresholds_can_be_set() -> None:
    """Each by its name; the others stay."""
    found = thresholds_of(AlertingSettings(alert_thresholds={"gain_1h": 5}))
    assert found == replace(Thresholds(), gain_1h=5)


@pytest.mark.parametrize("wrong", [{"gains": 5.0}, {"gain_1h": -1.0}, {"gain_1h": float("nan")}])
def test_thresholds_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    """At once, not when the rule is applied; the message says which there are."""
    with pytest.raises(SettingsError, match="gain"):
        thresholds_of(AlertingSettings(alert_thresholds=wrong))
    assert "gain_1h" in {field.name for field in fields(Thresholds)}
