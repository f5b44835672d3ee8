"""What of the catalogue concerns one member: what can be paid, and what is wished for."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists

from models.catalogue import ExchangeItem, Wish


@dataclass(frozen=True, slots=True)
class MemberFilter:
    """Which items to list for a member; None does not filter, False lists the others.

    `available` is the balance that `affordable` is about: points past their end do not count.
    """

    user_id: int
    available: int = 0
    affordable: bool | None = None
    wished: bool | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What an item has to fulfil."""
        conditions: list[ColumnElement[bool]] = []
        if self.affordable is not None:
            is_affordable = ExchangeItem.points <= self.available
            conditions.append(is_affordable if self.affordable else ~is_affordable)
        if self.wished is not None:
            is_wished = exists().where(
                Wish.user_id == self.user_id, Wish.item_id == ExchangeItem.id
            )
            conditions.append(is_wished if self.wished else ~is_wished)
        return conditions
