"""Asking the captcha provider, before anything is locked."""

from schema.context import Context


async def is_verified(context: Context, token: str | None) -> bool:
    """Whether the token proves a person; no token proves nothing and asks nobody."""
    return await context.mall.captcha.passes(token, context.remote_address)
