"""A thousand members: who they are, and how often they come."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from random import Random
from typing import Any

MEMBERS = 1_000
NAMED = ("alice", "bob", "carol", "dave", "erin")
"""Members to sign in as; their points expire in 1, 3, 7 and 30 days."""

HISTORY_DAYS = 150

_MOODS = (
    "早起的 爱笑的 慢半拍的 路过的 认真的 温柔的 元气 佛系 闪亮的 安静的 好奇的 靠谱的"
    " 迷路的 夜跑的"
)
_ANIMALS = "橘猫 柴犬 水豚 企鹅 树懒 松鼠 海豚 仓鼠 刺猬 熊猫 白鹭 锦鲤 兔子 狐狸"
_ENDINGS = ("", "君", "同学", "桑", "er", "2号")


@dataclass(frozen=True, slots=True)
class Member:
    """One demo member. `visits` is the chance of a visit on any day, `spends` of spending then."""

    user_id: int
    joined_at: datetime
    visits: float
    spends: float
    is_named: bool
    row: dict[str, Any]


def make_members(now: datetime, categories: list[str], random: Random) -> list[Member]:
    """The members, ids from 1, the named ones first."""
    nicknames = ["".join(parts) for parts in product(_MOODS.split(), _ANIMALS.split(), _ENDINGS)]
    random.shuffle(nicknames)
    names = [*NAMED, *nicknames][:MEMBERS]
    return [_member(number, name, now, categories, random) for number, name in enumerate(names, 1)]


def _member(
    user_id: int, name: str, now: datetime, categories: list[str], random: Random
) -> Member:
    is_named = name in NAMED
    days_ago = HISTORY_DAYS if is_named else random.randint(5, HISTORY_DAYS)
    joined_at = now - timedelta(days=days_ago, minutes=random.randint(0, 600))
    row = {
        "id": user_id,
        "external_id": name if is_named else f"demo-{user_id:04}",
        "username": name,
        "email": f"{name}@example.com" if is_named else None,
        "avatar_url": f"/images/avatars/{user_id % 48:02}.webp",
        "locale": "en" if random.random() < 0.08 else "zh-CN",
        "timezone": "Asia/Shanghai",
        "gender": random.choice(["female", "male", None]),
        "birth_year": random.randint(1965, 2006),
        "interests": random.sample(categories, random.randint(0, 4)),
        "created_at": joined_at,
        "last_login_at": None,
    }
    if is_named:
        row |= {"locale": "zh-CN"}
    visits = 0.6 if is_named else random.betavariate(1.1, 6)
    return Member(user_id, joined_at, visits, random.uniform(0.02, 0.2), is_named, row)
