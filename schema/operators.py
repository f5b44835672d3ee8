"""What operators did, for operators to read."""

from datetime import datetime

import strawberry

from schema.context import Info
from schema.ids import encode_id
from schema.node import Node, PageInfo, page_info
from schema.scalars import JSON
from schema.users import User
from services.operators import NotedAction
from services.paging import Page


@strawberry.type(description="One thing an operator, or a command, did. Never changed.")
class OperatorAction(Node):
    """A row of the operators' log."""

    action: str = strawberry.field(description="What was done, verb first: `suspend_user`.")
    target_id: strawberry.ID | None = strawberry.field(
        description="What it was done to; null for the mall as a whole."
    )
    details: JSON = strawberry.field(
        description=(
            "An object that depends on the action: what changed from what to what, or what a run"
            " came to, and the reason of a suspension or a correction. No address, tracking number"
            " or reason of a cancellation: this is kept for ever."
        )
    )
    created_at: datetime
    operator_id: strawberry.Private[int | None]

    @strawberry.field(description="Who did it; null for a command.")
    async def operator(self, info: Info) -> User | None:
        """Batched over all actions of the request."""
        if self.operator_id is None:
            return None
        user = await info.context.loaders.user.load(self.operator_id)
        return user and User.of(user)

    @classmethod
    def of(cls, noted: NotedAction) -> "OperatorAction":
        """The contract's view of a row of the log."""
        return cls(
            id=encode_id("OperatorAction", noted.id),
            action=noted.action,
            target_id=None if noted.kind is None else encode_id(noted.kind, noted.key),
            details=JSON(noted.details),
            created_at=noted.created_at,
            operator_id=noted.operator_id,
        )


@strawberry.type
class OperatorActionEdge:
    """An action in a list."""

    cursor: str
    node: OperatorAction


@strawberry.type
class OperatorActionConnection:
    """A page of actions."""

    edges: list[OperatorActionEdge]
    nodes: list[OperatorAction]
    page_info: PageInfo

    @classmethod
    def of(cls, page: Page[NotedAction]) -> "OperatorActionConnection":
        """The contract's view of a page of the log."""
        nodes = [OperatorAction.of(noted) for noted in page.rows]
        edges = [
            OperatorActionEdge(cursor=c, node=n) for c, n in zip(page.cursors, nodes, strict=True)
        ]
        return cls(edges=edges, nodes=nodes, page_info=page_info(page))
