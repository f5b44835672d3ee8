"""What items are like by their texts, in Chinese and English."""

import numpy as np
import pytest

from services.recommendations.content import Content, ItemTexts
from services.recommendations.interests import fold_interest

TEXTS = [
    ItemTexts("龙井茶叶礼盒", ("茶", "礼品"), "食品", "明前西湖龙井，清香回甘"),
    ItemTexts("西湖龙井茶", ("茶",), "食品", "新茶上市"),
    ItemTexts("蓝牙耳机", ("数码", "音乐"), "电器", "降噪，续航三十小时"),
    ItemTexts("Noise cancelling headphones", ("Music",), "Electronics", "Bluetooth, 30 hours"),
    ItemTexts("Bluetooth speaker", ("music",), "Electronics", "loud"),
    ItemTexts("", (), None, None),
]
WORTH = np.ones(len(TEXTS), dtype=np.float32)
NOBODY = np.zeros(len(TEXTS), dtype=np.int64)


def nearest(item: int) -> int:
    """The neighbour that an item is most like."""
    found = Content(TEXTS).neighbours(WORTH, most=5)
    return int(found.indices[found.indptr[item]])


@pytest.mark.parametrize(("item", "like"), [(0, 1), (1, 0), (3, 4), (4, 3)])
def test_alike_are_those_that_are_said_alike(item: int, like: int) -> None:
    """Tea is like tea, headphones like a speaker; an item without any text is like none."""
    assert nearest(item) == like
    found = Content(TEXTS).neighbours(WORTH, most=5)
    assert found.indptr[5] == found.indptr[6]
    assert not found.toarray()[:, 5].any()
    assert ((found.data > 0) & (found.data <= 1.00001)).all()


def test_interests_are_tags_and_categories() -> None:
    """However they are written; those of most items first."""
    assert Content(TEXTS).interests() == [
        "electronics", "music", "茶", "食品", "数码", "电器", "礼品", "音乐",
    ]  # fmt: skip
    assert fold_interest("  ＭＵＳＩＣ\u3000Box ") == "music box"


def test_what_fits_an_interest_and_is_popular_comes_first() -> None:
    """Nothing that does not fit, however popular; weights between 0 and 1."""
    users = NOBODY.copy()
    users[[2, 4]] = 1_000, 30
    found = Content(TEXTS).fitting(["music", "茶", "knitting"], WORTH, users, most=5)
    music, tea, knitting = (
        found.indices[start:end].tolist()
        for start, end in zip(found.indptr[:-1], found.indptr[1:], strict=True)
    )
    assert set(music) == {3, 4}
    assert music[0] == 4
    assert set(tea) == {0, 1}
    assert knitting == []
    assert ((found.data > 0) & (found.data <= 1)).all()


def test_what_is_not_offered_is_nobodys_neighbour() -> None:
    """Yet it has neighbours: who took it may want what is like it."""
    worth = WORTH.copy()
    worth[1] = 0
    found = Content(TEXTS).neighbours(worth, most=5).toarray()
    assert not found[:, 1].any()
    assert found[1, 0] > 0


@pytest.mark.parametrize("texts", [[], [ItemTexts("")], [ItemTexts("x")], [ItemTexts("同")] * 300])
def test_catalogues_that_say_little(texts: list[ItemTexts]) -> None:
    """No items, nothing said, or the same of all: no error, and nothing is alike by it."""
    content = Content(texts)
    worth = np.ones(len(texts), dtype=np.float32)
    assert content.neighbours(worth, most=5).shape == (len(texts), len(texts))
    assert content.neighbours(worth, most=5).nnz == 0
    assert content.interests() == []
    users = np.zeros(len(texts), dtype=np.int64)
    assert content.fitting([], worth, users, most=5).shape == (0, len(texts))
