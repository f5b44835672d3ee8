"""What the database adds up is what plain Python adds up, sample by sample."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest

from models.experiments import ExperimentAssignment, ExperimentEvent
from services.bulk import Writes
from services.experiments.definitions import Experiment, all_experiments
from services.experiments.results import (
    Findings,
    MetricSums,
    VariantSums,
    findings,
    metric_sums,
)
from services.experiments.save import ExperimentTerms, Variant, save_experiment
from services.experiments.statistics import Estimate, Moments, estimate_mean, estimate_share
from services.mall import Mall
from services.transaction import transaction
from tests.factories import add_user, execute
from tests.services.experiments.samples import of_samples

_VARIANTS = ("A", "B", "C")
_USERS = 400
Samples = Mapping[str, Mapping[int, Sequence[float]]]


@pytest.fixture
async def experiment(mall: Mall) -> Experiment:
    """Of three variants; the users of the world are there."""
    operator = await add_user(mall, "olga")
    terms = ExperimentTerms("idea", 100, tuple(Variant(key, 1) for key in _VARIANTS))
    async with transaction(mall.stores.write) as session:
        await save_experiment(session, operator, terms, clock=mall.clock)
    await execute(
        mall,
        "INSERT INTO users (external_id, username, locale, timezone)"
        f" SELECT 'user-' || n, 'user', 'en', 'UTC' FROM generate_series(1, {_USERS}) n",
    )
    async with mall.stores.read() as session:
        return next(each for each in await all_experiments(session) if each.key == "idea")


async def give(
    mall: Mall, experiment: Experiment, given: Mapping[int, tuple[str, int, bool]]
) -> None:
    """Give users variants: the key, the design, and whether they have crossed over."""
    now = mall.clock()
    rows = [
        (experiment.id, user_id, variant, design, now, now if has_crossed else None)
        for user_id, (variant, design, has_crossed) in given.items()
    ]
    columns = ("experiment_id", "user_id", "variant", "design", "exposed_at", "crossed_over_at")
    async with transaction(mall.stores.write) as session:
        writes = Writes()
        writes.insert(ExperimentAssignment, columns, rows)
        await writes.flush(session)


async def measure(mall: Mall, experiment: Experiment, measured: Samples) -> None:
    """Record samples of these metrics, by user."""
    rows = [
        (user_id, f"{metric}-{number}", experiment.id, metric, value, mall.clock())
        for metric, users in measured.items()
        for user_id, values in users.items()
        for number, value in enumerate(values)
    ]
    columns = ("user_id", "event_id", "experiment_id", "metric", "value", "recorded_at")
    async with transaction(mall.stores.write) as session:
        writes = Writes()
        writes.insert(ExperimentEvent, columns, rows)
        await writes.flush(session)


async def found(mall: Mall, experiment: Experiment, metric: str) -> Findings:
    """What the mall says."""
    asked = (experiment.id, experiment.design, metric)
    async with mall.stores.read() as session:
        sums = (await metric_sums(session, [asked]))[asked]
    return findings(experiment, metric, sums)


def plain(
    users: Mapping[int, str], samples: Mapping[int, Sequence[float]]
) -> dict[str, dict[str, Any]]:
    """The same by plain Python, from the users who are compared."""
    members: dict[str, list[int]] = defaultdict(list)
    for user_id, variant in users.items():
        members[variant].append(user_id)
    counted = {}
    for variant, ids in members.items():
        own = [samples[user_id] for user_id in ids if samples.get(user_id)]
        flat = [value for values in own for value in values]
        totals = [float(sum(samples.get(user_id, ()))) for user_id in ids]
        counted[variant] = {
            "exposed": len(ids),
            "unique": len(own),
            "samples": len(flat),
            "average": float(np.mean(flat)) if flat else None,
            "converted": sum(any(value > 0 for value in values) for values in own),
            "mean": of_samples(own) if own else None,
            "per exposed": Moments(len(ids), float(np.mean(totals)), float(np.var(totals, ddof=1))),
        }
    return counted


def a_world(random: Random, first: int) -> tuple[dict[int, tuple[str, int, bool]], Samples]:
    """Users of every kind, with few, many or no samples of each metric, from small to huge."""
    given: dict[int, tuple[str, int, bool]] = {}
    measured: dict[str, dict[int, list[float]]] = defaultdict(dict)
    for user_id in range(first, first + _USERS):
        if random.random() < 0.9:
            design = 1 if random.random() < 0.9 else 0
            given[user_id] = (random.choice(_VARIANTS), design, random.random() < 0.1)
        count = random.choice((0, 0, 1, 1, 2, 5, 30))
        if count:
            measured["spent"][user_id] = [random.gauss(20, 8) for _ in range(count)]
            measured["huge"][user_id] = [1e9 + random.random() for _ in range(count)]
            measured["clicked"][user_id] = [float(random.random() < 0.3) for _ in range(count)]
            measured["constant"][user_id] = [0.1] * count
    return given, measured


async def test_sums_are_those_of_plain_python(mall: Mall, experiment: Experiment) -> None:
    """A random world: users, unique users, samples, means, shares, and all that is told of them.

    Huge values that hardly differ among them, whose squares no number could tell apart.
    """
    ((first,),) = await execute(mall, "SELECT min(id) FROM users WHERE username = 'user'")
    given, measured = a_world(Random(6), first)
    await give(mall, experiment, given)
    await measure(mall, experiment, measured)
    compared = {
        user_id: variant
        for user_id, (variant, design, has_crossed) in given.items()
        if design == 1 and not has_crossed
    }
    crossed = sum(has_crossed for _, _, has_crossed in given.values())
    for metric, samples in measured.items():
        told = await found(mall, experiment, metric)
        expected = plain(compared, samples)
        assert told.crossed_over_users == crossed
        assert told.earlier_users == len(given) - len(compared) - crossed
        for each in told.variants:
            due = expected[each.variant]
            assert each.sums.exposed_users == due["exposed"]
            assert each.sums.sampled_users == due["unique"]
            assert each.sums.samples == due["samples"]
            assert each.sums.converted_users == due["converted"]
            assert each.mean.average == pytest.approx(due["average"])
            assert each.conversion.average == pytest.approx(due["converted"] / due["exposed"])
            agrees(each.mean, estimate_mean(due["mean"], baseline_of(each.variant, expected)))
            agrees(
                each.value_per_exposed_user,
                estimate_mean(
                    due["per exposed"], baseline_of(each.variant, expected, "per exposed")
                ),
            )
            is_binary = metric == "clicked"
            assert each.headline == (each.conversion if is_binary else each.mean)


def baseline_of(variant: str, expected: Mapping[str, Any], of: str = "mean") -> Moments | None:
    """What the variant is compared to."""
    return None if variant == "A" else expected["A"][of]


def agrees(told: Estimate, expected: Estimate) -> None:
    """To the rounding of either; nothing is told by one alone."""
    for name in ("interval", "difference_interval", "sequential_interval", "lift_interval"):
        ours, theirs = getattr(told, name), getattr(expected, name)
        assert (ours is None) == (theirs is None), name
        assert ours is None or ours == pytest.approx(theirs, rel=1e-6, abs=1e-6), name
    for name in ("lift", "p_value", "sequential_p_value"):
        ours, theirs = getattr(told, name), getattr(expected, name)
        assert (ours is None) == (theirs is None), name
        assert ours is None or ours == pytest.approx(theirs, rel=1e-4, abs=1e-9), name


async def test_nobody_and_nothing(mall: Mall, experiment: Experiment) -> None:
    """An experiment that nobody has seen: counts of 0, and nulls."""
    told = await found(mall, experiment, "spent")
    assert (told.sample_ratio_p_value, told.sample_ratio_mismatch) == (None, False)
    for each in told.variants:
        assert each.sums == VariantSums()
        assert each.mean == each.conversion == each.value_per_exposed_user == Estimate()


async def test_samples_of_others_are_not_counted(mall: Mall, experiment: Experiment) -> None:
    """Of users who were given nothing, of another metric, of another experiment."""
    ((first,),) = await execute(mall, "SELECT min(id) FROM users WHERE username = 'user'")
    other = (await execute(mall, "SELECT id FROM experiments WHERE key = 'points_prompt'"))[0][0]
    await give(mall, experiment, {first: ("A", 1, False)})
    await measure(
        mall, experiment, {"spent": {first: [3.0], first + 1: [9.0]}, "x": {first: [9.0]}}
    )
    await execute(
        mall,
        "INSERT INTO experiment_events VALUES (:user, 'other', :other, 'spent', 9, now())",
        user=first,
        other=other,
    )
    told = await found(mall, experiment, "spent")
    assert [each.sums.samples for each in told.variants] == [1, 0, 0]
    assert told.variants[0].mean.average == 3


async def test_several_are_added_up_at_once(mall: Mall, experiment: Experiment) -> None:
    """Each by its own metric, in one statement."""
    ((first,),) = await execute(mall, "SELECT min(id) FROM users WHERE username = 'user'")
    await give(mall, experiment, {first: ("A", 1, False)})
    await measure(mall, experiment, {"one": {first: [1.0]}, "two": {first: [2.0]}})
    asked = [(experiment.id, 1, "one"), (experiment.id, 1, "two"), (4711, 1, "one")]
    async with mall.stores.read() as session:
        sums = await metric_sums(session, asked)
    means = [each and each.mean for each in (sums[key].variants.get("A") for key in asked)]
    assert means == [Moments(1, 1.0, 0.0), Moments(1, 2.0, 0.0), None]
    assert sums[asked[2]] == MetricSums({})


def test_a_variant_that_nobody_of_has_a_sample_did_not_convert() -> None:
    """Once the metric was recorded for others: 0, not null, and it can be compared."""
    experiment = Experiment(
        *(1, "idea", "running", 10_000, (Variant("A", 1), Variant("B", 1)), 1, "", None, None)
    )
    some = VariantSums(100, 30, 30, 30, True, Moments(30, 1.0, 0.0), Moments(100, 0.3, 0.2))
    none = VariantSums(100, 0, 0, 0, True, None, Moments(100, 0.0, 0.0))
    told = findings(experiment, "x", MetricSums({"A": some, "B": none}))
    assert told.variants[1].headline.average == 0
    assert told.variants[1].headline == estimate_share(
        Moments(100, 0.0, 0.0), Moments(100, 0.3, 0.21 / 0.99)
    )
    assert told.variants[1].headline.lift == -1
    assert told.variants[1].mean == Estimate()
