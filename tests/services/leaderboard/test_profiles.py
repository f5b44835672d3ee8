"""Who stands on a board: read at once, remembered under a token, never older than it."""

from collections.abc import Collection
from datetime import timedelta

from services.leaderboard.profiles import Profile, Profiles, profiles_by_id
from services.mall import Mall
from tests.clock import MovableClock
from tests.factories import add_user, execute


class Register:
    """Names as a database would know them, and what was asked of it."""

    def __init__(self) -> None:
        self.names = {1: "ann", 2: "ben"}
        self.asked: list[list[int]] = []

    async def load(self, user_ids: Collection[int]) -> dict[int, Profile]:
        """The profiles of those who are there."""
        self.asked.append(sorted(user_ids))
        return {
            user_id: Profile(user_id, self.names[user_id], None, ())
            for user_id in user_ids
            if user_id in self.names
        }


async def _names(profiles: Profiles, register: Register, token: str | None) -> list[str]:
    found = await profiles.find([1, 2, 3], token, register.load)
    return [found[user_id].username for user_id in sorted(found)]


async def test_a_profile_is_read_once_under_a_token() -> None:
    """Those who are not there are looked for again; another token forgets everything."""
    profiles, register = Profiles(), Register()
    assert await _names(profiles, register, "token") == ["ann", "ben"]
    register.names[1] = "anna"
    assert await _names(profiles, register, "token") == ["ann", "ben"]
    assert await _names(profiles, register, "next") == ["anna", "ben"]
    assert register.asked == [[1, 2, 3], [3], [1, 2, 3]]


async def test_without_a_token_nothing_is_remembered() -> None:
    """Redis is away: nobody would hear of a change."""
    profiles, register = Profiles(), Register()
    for name in ("ann", "anna"):
        register.names[1] = name
        assert await _names(profiles, register, None) == [name, "ben"]


async def test_a_minute_is_the_longest() -> None:
    """Should somebody die between a commit and its token."""
    now_s = [1_000.0]
    profiles, register = Profiles(lambda: now_s[0]), Register()
    await _names(profiles, register, "token")
    register.names[1] = "anna"
    now_s[0] += 59
    assert await _names(profiles, register, "token") == ["ann", "ben"]
    now_s[0] += 2
    assert await _names(profiles, register, "token") == ["anna", "ben"]


async def test_what_was_read_under_an_older_token_is_not_kept_under_a_newer() -> None:
    """A slow reader comes back after somebody else has learnt of a change."""
    profiles, register = Profiles(), Register()

    async def slow(user_ids: Collection[int]) -> dict[int, Profile]:
        old = await register.load(user_ids)
        register.names[1] = "anna"
        assert await _names(profiles, register, "new") == ["anna", "ben"]
        return old

    assert (await profiles.find([1], "old", slow))[1].username == "ann"
    assert await _names(profiles, register, "new") == ["anna", "ben"]


async def test_a_level_lasts_as_long_as_its_membership(mall: Mall, clock: MovableClock) -> None:
    """The highest that runs; who was erased has no profile."""
    ann, ben = await add_user(mall, "ann"), await add_user(mall, "ben", erased_at=clock())
    for level, days in ((1, 9), (2, 3)):
        ends_at = clock() + timedelta(days=days)
        await execute(
            mall, "INSERT INTO user_vip VALUES (:u, :level, :at)", u=ann, level=level, at=ends_at
        )
    async with mall.stores.read() as session:
        found = await profiles_by_id(session, [ann, ben])
    assert list(found) == [ann]
    levels = [found[ann].vip_level(clock() + timedelta(days=days)) for days in (0, 3, 9)]
    assert levels == [2, 1, 0]
    await execute(mall, "DELETE FROM user_vip")  # nobody bought them, say the books
