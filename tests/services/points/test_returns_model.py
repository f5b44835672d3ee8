"""The real mall does what the naive one says, with all that comes back and all that is held."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.services.points.holds_machine import HoldsMachine


def test_what_is_held_and_what_comes_back_is_what_the_naive_model_says() -> None:
    """30 histories of up to 60 steps."""
    run_state_machine_as_test(
        HoldsMachine,
        settings=settings(
            max_examples=30,
            stateful_step_count=60,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
