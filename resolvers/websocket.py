"""A WebSocket as the protocol uses it: text out, in turn; whole frames in."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter, GraphQL

_MESSAGE_TOO_BIG: Final = 1009  # RFC 6455, 7.4.1
_MAX_REASON_BYTES: Final = 123  # RFC 6455, 5.5: a longer reason breaks the connection


class SocketAdapter(ASGIWebSocketAdapter):
    """After the socket is closed it writes nothing and reads nothing."""

    def __init__(
        self, view: GraphQL[Any, None], request: WebSocket, response: WebSocket, max_bytes: int
    ) -> None:
        """`max_bytes` is the most that a frame may hold."""
        super().__init__(view, request, response)
        self._max_bytes = max_bytes
        self._sending = asyncio.Lock()

    async def frames(self) -> AsyncGenerator[str | bytes]:
        """Yield what the client says until the socket is closed, by whomever."""
        while self._is_open():
            frame = await self.ws.receive()
            if frame["type"] == "websocket.disconnect" or not self._is_open():
                return  # what came while it was being closed is not heard
            said: str | bytes = frame.get("text") or frame.get("bytes") or b""
            if self._is_too_big(said):
                await self.close(_MESSAGE_TOO_BIG, "Message too big")
                return
            yield said

    def _is_open(self) -> bool:
        states = (self.ws.application_state, self.ws.client_state)
        return WebSocketState.DISCONNECTED not in states

    def _is_too_big(self, said: str | bytes) -> bool:
        if isinstance(said, bytes):
            return len(said) > self._max_bytes
        # No character takes more than four bytes, so most frames need not be encoded to be sure.
        return len(said) * 4 > self._max_bytes and len(said.encode()) > self._max_bytes

    async def send_text(self, text: str) -> None:
        """Send one frame, as text: clients take a binary frame for a broken one.

        Waits while the client does not read. One after another: all that wait would else write at
        once as soon as there is room, however many they are.
        """
        async with self._sending:
            if self._is_open():
                try:
                    await self.ws.send_text(text)
                except WebSocketDisconnect:  # it is gone; the reading side hears of it too
                    return

    async def close(self, code: int, reason: str) -> None:
        """Close the socket unless it is closed; an overlong reason is cut."""
        if self._is_open():
            cut = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
            try:
                await super().close(code, cut)
            except WebSocketDisconnect:
                return
