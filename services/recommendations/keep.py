"""Writing down what a training found: piece by piece, each a transaction of its own."""

from collections.abc import Iterator, Sequence
from typing import Any

from models.recommendations import NeighbourKind
from models.stores import Stores
from services.bulk import in_pieces
from services.patient_driver import patient_driver
from services.recommendations.interactions import Ids, Matrix
from services.recommendations.model import Learnt
from services.recommendations.progress import Tell, tell_nobody
from services.recommendations.runs import hold_run
from services.transaction import transaction

ROWS_A_PIECE = 500
"""A hundred thousand numbers, for which the loop is held up for some milliseconds."""
_LONGEST_PIECE_S = 60

_NEIGHBOURS = ("run_id", "item_id", "kind", "neighbour_ids", "weights")
_INTERESTS = ("run_id", "interest", "item_ids", "weights")


async def keep_learnt(
    stores: Stores, run_id: int, item_ids: Ids, learnt: Learnt, tell: Tell = tell_nobody
) -> None:
    """Write all neighbours of a run; raises RunLost."""
    items: Sequence[int] = item_ids.tolist()
    for kind, matrix in (
        (NeighbourKind.COLLABORATIVE, learnt.collaborative),
        (NeighbourKind.CONTENT, learnt.content),
    ):
        keys = [(item_id, str(kind)) for item_id in items]
        await _copy(stores, run_id, "item_neighbours", _NEIGHBOURS, keys, matrix, item_ids, tell)
    keys = [(interest,) for interest in learnt.interests]
    matrix = learnt.interest_items
    await _copy(stores, run_id, "interest_items", _INTERESTS, keys, matrix, item_ids, tell)


async def _copy(
    stores: Stores,
    run_id: int,
    table: str,
    columns: Sequence[str],
    keys: Sequence[tuple[Any, ...]],
    matrix: Matrix,
    item_ids: Ids,
    tell: Tell,
) -> None:
    for numbers in in_pieces(range(len(keys)), ROWS_A_PIECE):
        tell("writing", numbers[0], len(keys))
        rows = list(_rows(run_id, numbers, keys, matrix, item_ids))
        async with transaction(stores.bulk) as session:
            await hold_run(session, run_id)
            driver = await patient_driver(session, _LONGEST_PIECE_S)
            await driver.copy_records_to_table(
                table, records=rows, columns=columns, timeout=_LONGEST_PIECE_S
            )
    tell("writing", len(keys), len(keys))


def _rows(
    run_id: int,
    numbers: Sequence[int],
    keys: Sequence[tuple[Any, ...]],
    matrix: Matrix,
    item_ids: Ids,
) -> Iterator[tuple[Any, ...]]:
    """A row for each that has any neighbours."""
    for number in numbers:
        start, end = matrix.indptr[number], matrix.indptr[number + 1]
        if start < end:
            neighbours = item_ids[matrix.indices[start:end]].tolist()
            yield run_id, *keys[number], neighbours, matrix.data[start:end].tolist()
