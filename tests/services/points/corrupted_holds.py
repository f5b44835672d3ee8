"""More ways to spoil the books: what was held, and decided by nobody."""

from tests.services.points.corruptions import Corruption

HOLD_CORRUPTIONS = (
    Corruption(
        "a held lot counts, and no operator released it",
        "lot {franks_lot} of user {frank}",
        "UPDATE points_records SET hold_reason = 'gains' WHERE id = :franks_lot",
        alone=True,
    ),
    Corruption(
        "points of a lot were rejected, and by no operator",
        "lot {used_lot} of user {alice}",
        "UPDATE points_records SET rejected_points = 1 WHERE id = :used_lot",
        without=("points_records.ck_points_records_rejected_points_in_range",),
    ),
)
