"""What every type with an id of its own shares, and how lists are paged."""

from typing import Any

import strawberry

from services.paging import Page


@strawberry.interface
class Node:
    """Something with a global id."""

    id: strawberry.ID = strawberry.field(description="Globally unique and opaque.")


@strawberry.type
class PageInfo:
    """Where a page stands in its list."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


def page_info(page: Page[Any]) -> PageInfo:
    """The contract's view of a page."""
    return PageInfo(
        has_next_page=page.has_next,
        has_previous_page=page.has_previous,
        start_cursor=page.cursors[0] if page.cursors else None,
        end_cursor=page.cursors[-1] if page.cursors else None,
    )
