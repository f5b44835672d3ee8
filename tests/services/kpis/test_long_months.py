"""A month of a large mall takes longer to count than a statement may otherwise."""

from dataclasses import replace
from datetime import date

import pytest

from services.kpis.cohorts import keep_month
from services.mall import Mall
from services.transaction import transaction
from settings import Settings
from tests.factories import execute

_LIMIT_S = 2


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Statements may take less time than elsewhere."""
    limits = {"database_statement_timeout_s": _LIMIT_S}
    return replace(settings, stores=settings.stores.model_copy(update=limits))


async def test_a_month_may_take_its_time(mall: Mall) -> None:
    """Neither the database nor the driver ends it at the common limit."""
    await execute(
        mall,
        f"""
        CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep({_LIMIT_S + 0.5}); RETURN NEW; END $$
        """,
    )
    await execute(
        mall,
        "CREATE TRIGGER slow BEFORE INSERT ON cohort_months"
        " FOR EACH STATEMENT EXECUTE FUNCTION take_time()",
    )
    async with transaction(mall.stores.bulk) as session:
        await keep_month(session, date(2026, 10, 1), mall.zone)
    assert len(await execute(mall, "SELECT cohort FROM cohort_months")) == 1
