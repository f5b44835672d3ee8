"""Among whom something is popular: the same by the rule as by the database."""

import pytest

from services.mall import Mall
from services.recommendations.audiences import FEWEST_PEERS, peer_audiences
from tests.client import Client
from tests.factories import add_item, add_user, execute, give_points
from tests.journeys.steps import exchange
from tests.services.recommendations.malls import trained

YEAR = 2026


@pytest.mark.parametrize(
    ("gender", "birth_year", "audiences"),
    [
        ("female", 1996, ("peers:female:25", "peers:female:any", "peers:any:25")),
        ("male", YEAR - 18, ("peers:male:18", "peers:male:any", "peers:any:18")),
        ("other", YEAR - 17, ("peers:other:0", "peers:other:any", "peers:any:0")),
        ("undisclosed", YEAR - 55, ("peers:any:55",)),
        ("female", None, ("peers:female:any",)),
        (None, 1900, ("peers:any:55",)),
        ("undisclosed", None, ()),
        (None, None, ()),
        (None, YEAR + 1, ("peers:any:0",)),
    ],
)
def test_peers_are_of_one_gender_and_age(
    gender: str | None, birth_year: int | None, audiences: tuple[str, ...]
) -> None:
    """The narrowest first; nothing of who said nothing."""
    assert peer_audiences(gender, birth_year, YEAR) == audiences


async def test_the_database_counts_by_the_same_names(mall: Mall, client: Client) -> None:
    """Every audience that some members belong to, and no other."""
    item = await add_item(mall, stock=99)
    people = [("female", YEAR - 24), ("undisclosed", YEAR - 45), ("male", None), (None, None)]
    for place, (gender, birth_year) in enumerate(people):
        for number in range(FEWEST_PEERS):
            name = f"m{place}-{number}"
            user_id = await add_user(mall, name, gender=gender, birth_year=birth_year)
            await give_points(mall, user_id, 100)
            await exchange(client, name, item)
    await trained(mall)
    rows = await execute(
        mall, "SELECT audience, members FROM popular_items WHERE audience LIKE 'peers:%'"
    )
    expected = {name for person in people for name in peer_audiences(*person, YEAR)}
    assert {tuple(row) for row in rows} == {(name, FEWEST_PEERS) for name in expected}
