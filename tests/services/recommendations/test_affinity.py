"""Properties of what a history speaks for: order, bounds, and reasons that are true."""

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from models.catalogue import ExchangeItemType
from models.recommendations import NeighbourKind
from services.catalogue.items import Item
from services.recommendations.affinity import (
    Leaning,
    Liked,
    Neighbours,
    Shown,
    affinities,
    liked,
    loudest,
    matches,
)
from services.recommendations.ladder import Rung, Step
from services.recommendations.reasons import RecommendationReason
from services.recommendations.recommend import ranked

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


catalogues = st.dictionaries(IDS, CATEGORIES).map(
    lambda found: {item_id: item(item_id, category) for item_id, category in found.items()}
)


@given(histories(), neighbour_rows(), catalogues, CATEGORIES)
def test_only_what_is_offered_and_spoken_for(
    history: list[Shown],
    rows: list[Neighbours],
    offered: dict[int, Item],
    category: str | None,
) -> None:
    """Each once, by falling scores above 0 and at most 1."""
    found = affinities(history, rows)
    chosen = liked(found, offered, Leaning(category))
    assert len({each.item.id for each in chosen}) == len(chosen)
    assert {each.item.id for each in chosen} <= offered.keys() & found.keys()
    scores = [each.score for each in chosen]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1.000001 for score in scores)
    for each in chosen:
        is_alike = each.item.category is not None and each.item.category == category
        assert each.reason is not RecommendationReason.SAME_CATEGORY or is_alike


@given(histories(), neighbour_rows(), catalogues, st.randoms())
def test_the_order_in_which_things_are_read_does_not_matter(
    history: list[Shown], rows: list[Neighbours], offered: dict[int, Item], random: Any
) -> None:
    """Rows come as PostgreSQL likes."""
    before = liked(affinities(history, rows), offered, Leaning())
    random.shuffle(history)
    random.shuffle(rows)
    after = liked(affinities(history, rows), offered, Leaning())
    assert {each.item.id for each in before} == {each.item.id for each in after}
    of_each = {each.item.id: each.score for each in after}
    assert all(abs(of_each[each.item.id] - each.score) < 1e-6 for each in before)


@given(histories(), neighbour_rows(), st.floats(0.1, 10))
def test_how_old_a_whole_history_is_does_not_matter(
    history: list[Shown], rows: list[Neighbours], left: float
) -> None:
    """What all of it has lost changes no order: a member who was away is known as before."""
    offered = {item_id: item(item_id) for item_id in range(1, 9)}
    older = [replace(shown, strength=shown.strength * left) for shown in history]
    before = liked(affinities(history, rows), offered, Leaning())
    after = liked(affinities(older, rows), offered, Leaning())
    of_each = {each.item.id: each.score for each in after}
    assert all(abs(of_each.get(each.item.id, 0) - each.score) < 1e-6 for each in before)


@given(histories(), neighbour_rows(), st.integers(0, 8))
def test_the_loudest_hold_the_best(history: list[Shown], rows: list[Neighbours], most: int) -> None:
    """What is looked up first is what would be recommended first, were everything offered."""
    found = affinities(history, rows)
    offered = {item_id: item(item_id) for item_id in range(1, 9)}
    best = [each.item.id for each in liked(found, offered, Leaning())]
    assert loudest(found, most) == best[:most]


def test_a_taken_item_does_not_speak_for_itself() -> None:
    """What is wished for or was viewed does: the member wants it and has not got it."""
    offered = {1: item(1), 2: item(2)}
    found = affinities([Shown(1, 3, is_taken=True), Shown(2, 1, is_taken=False)], [])
    assert [each.item.id for each in liked(found, offered, Leaning())] == [2]


def test_interests_match_whatever_the_width_case_and_blanks() -> None:
    """Tags and the category count."""
    assert matches(item(1, tags=("ＣＯＦＦＥＥ  Beans",)), {"coffee beans"})
    assert matches(item(1, "Books"), {"books"})
    assert not matches(item(1), {""})


@given(st.lists(st.floats(0.01, 1), max_size=8), st.integers(0, 8))
def test_scores_fall_from_1_to_0(liked_scores: list[float], steps: int) -> None:
    """Whatever a history speaks for stands above what the ladder adds."""
    of_history = [
        Liked(item(number), score, RecommendationReason.SIMILAR_USERS)
        for number, score in enumerate(sorted(liked_scores, reverse=True))
    ]
    climbed = [Step(Rung.POPULAR, item(100 + number)) for number in range(steps)]
    scores = [each.score for each in ranked(of_history, climbed)]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    assert all(score > 0.5 for score in scores[: len(of_history)])
    assert all(score < 0.5 for score in scores[len(of_history) :])
