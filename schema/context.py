"""What a field may ask for: who is asking, the mall, and loaders that batch what they read."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

import strawberry
from sqlalchemy.ext.asyncio import AsyncSession

from schema.loaders import Loaders
from services.errors import Unauthenticated
from services.live.hub import Hub
from services.mall import Mall
from services.transaction import reading
from services.users.claims import Role

MOST_SESSIONS_A_REQUEST = 4
"""Root fields of a query run concurrently: one request must not drain the pool."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """The user a valid token speaks for."""

    user_id: int
    subject: str
    roles: frozenset[Role]
    locale: str
    token_expires_at_s: float


@dataclass
class Context:
    """One request, or one WebSocket connection. `viewer` is None for anonymous requests."""

    mall: Mall
    viewer: Viewer | None
    locale: str
    remote_address: str | None
    forget_viewer: Callable[[Viewer], None]
    """Lets the next request of this process read anew who the viewer is."""
    live: Hub
    """What is being watched in this process."""
    connection: "Context | None" = None
    """The WebSocket connection's own context, of which this is one operation's copy."""

    def __copy__(self) -> "Context":
        """The same asker with nothing loaded: what each operation of a WebSocket gets."""
        return Context(
            self.mall,
            self.viewer,
            self.locale,
            self.remote_address,
            self.forget_viewer,
            self.live,
            self.connection or self,
        )

    def speak(self, locale: str) -> None:
        """Speak the viewer's new language: for the rest of this request, or of its connection.

        Later requests of this process speak it too; other processes, and sockets that are open
        already, when they next ask who a token speaks for.
        """
        viewer = replace(self.require_viewer(), locale=locale)
        for context in (self, self.connection):
            if context is not None:
                context.viewer, context.locale = viewer, locale
        self.forget_viewer(viewer)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncSession]:
        """A session for reading, held as shortly as possible."""
        async with self._sessions, reading(self.mall.stores.read) as session:
            yield session

    @cached_property
    def _sessions(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(MOST_SESSIONS_A_REQUEST)

    @cached_property
    def loaders(self) -> Loaders:
        """Loaders of this request; a mutation drops them, for it changes what they hold."""
        mall = self.mall
        return Loaders(self.read, mall.clock, mall.zone, mall.profiles)

    def forget_loaded(self) -> None:
        """Let what is read from now on see what a mutation changed."""
        self.__dict__.pop("loaders", None)

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return self.mall.clock()

    def require_viewer(self) -> Viewer:
        """The viewer; raises Unauthenticated for anonymous requests."""
        if self.viewer is None:
            raise Unauthenticated
        return self.viewer


Info = strawberry.Info[Context, None]
