"""Properties of what operators may say of tasks: whatever is accepted can be read again."""

from typing import Any

import hypothesis.strategies as st
import orjson
from hypothesis import example, given

from services.errors import InvalidInput
from services.points.expiry import expiry_of
from services.tasks.rules import parse_rules
from services.tasks.save import HIGHEST_TARGET, valid_config
from tests.services.points.accounts import NOW
from tests.services.tasks.settlements import ZONE

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(), SCALARS, max_size=2)
LIFETIMES = st.fixed_dictionaries(
    {"type": st.sampled_from(["days", "months", "years", "never"]) | VALUES},
    optional={"value": st.integers(-1, 2_000) | VALUES},
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "event": st.text(max_size=3) | VALUES,
        "target": st.integers(-1, 2**32) | VALUES,
        "min_amount": st.floats() | VALUES,
        "claim": st.sampled_from(["manual", "auto"]) | VALUES,
        "verification": st.booleans() | VALUES,
        "expiry": LIFETIMES | VALUES,
        "more": VALUES,
    },
)


@given(CONFIGS | VALUES)
@example({"event": "read", "target": HIGHEST_TARGET, "claim": "auto"})
@example({"expiry": {"type": "years", "value": 100}})
@example({"expiry": {"type": [], "value": 1}})
@example({"min_amount": float("inf")})
def test_whatever_is_accepted_can_be_read_and_paid(config: Any) -> None:
    """No task that an operator may save hides from members, or breaks a completion."""
    try:
        stored = valid_config(config)
    except InvalidInput:
        return
    assert orjson.loads(orjson.dumps(stored)) == stored
    rules = parse_rules(stored)
    assert 1 <= rules.target <= HIGHEST_TARGET
    assert rules.claim == "manual" or rules.event
    ends = expiry_of("task", NOW, ZONE, rules.lifetime)
    assert ends is None or ends > NOW
