"""Properties of what a history speaks for: order, bounds, and reasons that are true."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from models.catalogue import ExchangeItemType
from models.recommendations import NeighbourKind
from services.catalogue.items import Item
from services.recommendations.affinity import (
    Leaning,
    Neighbours,
    Shown,
    Wanted,
    matches,
    reason_for,
    wanted,
)
from services.recommendations.ladder import Rung, Step
from services.recommendations.reasons import RecommendationReason
from services.recommendations.recommend import climbed

IDS = st.integers(1, 8)
CATEGORIES = st.sampled_from([None, "books", "tea"])


def item(item_id: int, category: str | None = None, tags: tuple[str, ...] = ()) -> Item:
    """An item that can be had."""
    listing: dict[str, Any] = dict.fromkeys(
        ("description", "image_url", "available_from", "available_until", "per_user_limit")
    )
    return Item(
        id=item_id,
        name=str(item_id),
        points=10,
        category=category,
        tags=tags,
        type=ExchangeItemType.VIRTUAL,
        is_active=True,
        stock=1,
        config={},
        **listing,
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Shown]:
    """What a member did, each item once."""
    ids = draw(st.lists(IDS, unique=True))
    return [Shown(i, draw(st.floats(0.01, 6)), draw(st.booleans())) for i in ids]


@st.composite
def neighbour_rows(draw: st.DrawFn) -> list[Neighbours]:
    """What any items speak for or, of the collaborative kind, against."""
    rows: list[Neighbours] = []
    for item_id in draw(st.lists(IDS, unique=True)):
        for kind in draw(st.lists(st.sampled_from(NeighbourKind), unique=True)):
            least = -1.0 if kind is NeighbourKind.COLLABORATIVE else 0.01
            weights = draw(st.dictionaries(IDS, st.floats(least, 1)))
            rows.append(Neighbours(item_id, kind, list(weights), list(weights.values())))
    return rows


@given(histories(), neighbour_rows(), st.integers(0, 10))
def test_only_what_is_spoken_for(history: list[Shown], rows: list[Neighbours], most: int) -> None:
    """Each once, by falling scores above 0 and at most 1; fewer are the first of more."""
    found = wanted(history, rows, most)
    assert len(found) <= most
    assert len({each.item_id for each in found}) == len(found)
    known = {shown.item_id for shown in history}
    assert {each.item_id for each in found} <= known | {i for row in rows for i in row.item_ids}
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1.000001 for score in scores)
    assert found == wanted(history, rows, most + 1)[:most]


@given(histories(), neighbour_rows())
def test_as_a_plain_loop_adds_it_up(history: list[Shown], rows: list[Neighbours]) -> None:
    """0.6 of what similar members took, 0.4 of what is alike, each by its best."""
    said = {kind: defaultdict[int, float](float) for kind in NeighbourKind}
    for shown in history:
        if not shown.is_taken:
            said[NeighbourKind.CONTENT][shown.item_id] += shown.strength
        for row in rows:
            if row.item_id == shown.item_id:
                for item_id, weight in zip(row.item_ids, row.weights, strict=True):
                    said[row.kind][item_id] += shown.strength * weight
    best = {kind: max([0.0, *found.values()]) for kind, found in said.items()}
    shares = {NeighbourKind.COLLABORATIVE: 0.6, NeighbourKind.CONTENT: 0.4}
    for each in wanted(history, rows, 100):
        expected = sum(
            share * said[kind][each.item_id] / best[kind]
            for kind, share in shares.items()
            if best[kind]
        )
        assert abs(each.score - expected) < 1e-6


@given(histories(), neighbour_rows(), st.randoms())
def test_the_order_in_which_things_are_read_does_not_matter(
    history: list[Shown], rows: list[Neighbours], random: Any
) -> None:
    """Rows come as PostgreSQL likes."""
    before = {each.item_id: each.score for each in wanted(history, rows, 100)}
    random.shuffle(history)
    random.shuffle(rows)
    after = {each.item_id: each.score for each in wanted(history, rows, 100)}
    for item_id in before.keys() | after.keys():
        assert abs(before.get(item_id, 0) - after.get(item_id, 0)) < 1e-6


@given(histories(), neighbour_rows(), st.floats(0.1, 10))
def test_how_old_a_whole_history_is_does_not_matter(
    history: list[Shown], rows: list[Neighbours], left: float
) -> None:
    """What all of it has lost changes no order: a member who was away is known as before."""
    older = [replace(shown, strength=shown.strength * left) for shown in history]
    after = {each.item_id: each.score for each in wanted(older, rows, 100)}
    for each in wanted(history, rows, 100):
        assert abs(after.get(each.item_id, 0) - each.score) < 1e-6


@given(st.floats(-1, 0.6), st.floats(0, 0.4), CATEGORIES, CATEGORIES, st.booleans())
def test_a_reason_is_true(
    by_taste: float, by_kind: float, category: str | None, last: str | None, is_tagged: bool
) -> None:
    """Whatever it says of the category, the interests and similar members holds."""
    offered = item(1, category, ("Games",) if is_tagged else ())
    leaning = Leaning(last, frozenset({"games"}))
    match reason_for(offered, Wanted(1, by_taste, by_kind), leaning):
        case RecommendationReason.SIMILAR_USERS:
            assert by_taste >= by_kind
        case RecommendationReason.SAME_CATEGORY:
            assert category is not None
            assert category == last
        case RecommendationReason.MATCHES_INTERESTS:
            assert is_tagged
        case reason:
            assert reason is RecommendationReason.FITS_BALANCE


def test_a_taken_item_does_not_speak_for_itself() -> None:
    """What is wished for or was viewed does: the member wants it and has not got it."""
    history = [Shown(1, 3, is_taken=True), Shown(2, 1, is_taken=False)]
    assert [each.item_id for each in wanted(history, [], 10)] == [2]


def test_interests_match_whatever_the_width_case_and_blanks() -> None:
    """Tags and the category count."""
    assert matches(item(1, tags=("ＣＯＦＦＥＥ  Beans",)), {"coffee beans"})
    assert matches(item(1, "Books"), {"books"})
    assert not matches(item(1), {""})


@given(st.integers(0, 8))
def test_what_the_ladder_adds_falls_from_below_a_half(steps: int) -> None:
    """Whatever a history speaks for stands above it."""
    found = climbed([Step(Rung.POPULAR, item(100 + number)) for number in range(steps)])
    scores = [each.score for each in found]
    assert scores == sorted(set(scores), reverse=True)
    assert all(0 < score < 0.5 for score in scores)
