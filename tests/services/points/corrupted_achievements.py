"""More ways to spoil the books: what achievements measure, and what they granted."""

from tests.services.points.corruptions import Corruption

_COUNTS = "counts of a user are not those of the tables"
_LOTS = "an unlocked achievement and its lot differ"
ACHIEVEMENT_CORRUPTIONS = (
    *(
        Corruption(
            _COUNTS,
            "user {bob}",
            f"UPDATE users SET {column} = {column} + 1 WHERE id = :bob",
            alone=True,
        )
        for column in ("exchanges_made", "tasks_completed", "best_streak")
    ),
    Corruption(
        _LOTS,
        "user {bob} achievement first_exchange",
        "UPDATE user_achievements SET points = 5, points_record_id = :carols_lot"
        " WHERE user_id = :bob",
        alone=True,
    ),
    Corruption(
        _LOTS,
        "user {alice} achievement without a key",
        "UPDATE points_records SET source = 'achievement' WHERE id = :spare_lot",
        alone=True,
    ),
)
