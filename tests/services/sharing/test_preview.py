"""What a link to a rank says, where the rank is known and where it is not."""

import pytest

from models.sharing import ShareKind
from services.calendar import system_clock
from services.identifiers import new_id
from services.sharing.preview import Shared, preview_of
from services.sharing.shares import Share


@pytest.mark.parametrize(
    ("locale", "rank", "title"),
    [
        ("en", 1_234, "Alice is number 1,234 of the leaderboard"),
        ("en", None, "Alice is climbing the leaderboard"),
        ("zh-CN", 3, "Alice 位列排行榜第 3 名"),
        ("zh-CN", None, "Alice 正在冲击排行榜"),
    ],
)
def test_a_rank_is_said_where_it_is_known(locale: str, rank: int | None, title: str) -> None:
    """By the name that boards show."""
    share = Share(new_id(), 1, ShareKind.RANK, None, "ABCDEFGHJK", 0, 0, 0, system_clock())
    assert preview_of(Shared(share, "Alice", None, None, is_open=True), locale, rank).title == title
