"""`users`: members and their data."""

from typing import Annotated

import typer

from commands.opening import AsOperator, run_in_mall
from services.mall import Mall
from services.transaction import transaction
from services.users.erase import Erased, ExchangesOpen, erase_user
from services.users.operator import NobodyCalled, operator_id_of
from settings import load_settings

users = typer.Typer(no_args_is_help=True, help="Members and their data.")


@users.command("erase")
def users_erase(
    subject: Annotated[str, typer.Argument(help="The user's external id: `sub` of their tokens.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    operator: AsOperator = None,
) -> None:
    """Delete a user's personal data for ever; the ledger keeps its numbers."""
    if not yes:
        typer.confirm(f"Erase the personal data of {subject!r} for ever?", abort=True, err=True)

    async def work(mall: Mall) -> int:
        try:
            async with transaction(mall.stores.write) as session:
                operator_id = await operator_id_of(session, operator)
                erased = await erase_user(
                    session,
                    subject,
                    mall.clock(),
                    timezone=mall.zone.key,
                    operator_id=operator_id,
                )
        except NobodyCalled as refusal:
            typer.echo(f"Nothing was erased: {refusal}.", err=True)
            return 1
        except ExchangesOpen as refusal:
            typer.echo(
                f"Nothing was erased: {refusal.count} exchange(s) are on their way. Complete or"
                " cancel them first.",
                err=True,
            )
            return 1
        typer.echo(_what_was_erased(subject, erased), err=True)
        return 0

    run_in_mall(load_settings(), work)


def _what_was_erased(subject: str, erased: Erased | None) -> str:
    if erased is None:
        return f"There is nobody called {subject!r}: nothing to erase."
    return (
        f"Erased: user {erased.user_id} is nobody now: {erased.wishes} wish(es) and the address(es)"
        f" of {erased.shipments} shipment(s) are gone."
    )
