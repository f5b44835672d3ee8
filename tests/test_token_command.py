"""Tokens for whoever can read the secret: `python cli.py token`."""

import time

import jwt
import pytest
from typer.testing import CliRunner

from cli import cli

_SECRET = "s" * 32
_DAY_S = 86_400


@pytest.mark.parametrize(
    ("profile", "options", "days"),
    [("production", (), 1), ("dev", (), 30), ("production", ("--days", "7"), 7)],
)
def test_how_long_a_token_is_valid(profile: str, options: tuple[str, ...], days: int) -> None:
    """Said beside it, chosen, and a day where nothing is chosen for a mall in use."""
    before_s = int(time.time())
    printed = CliRunner().invoke(
        cli,
        ["token", "olga", "--role", "operator", *options],
        env={"MALL_PROFILE": profile, "MALL_JWT_SECRET": _SECRET},
    )
    assert printed.exit_code == 0, printed.output
    claims = jwt.decode(printed.stdout.strip(), _SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["roles"]) == ("olga", ["operator"])
    assert claims["exp"] - claims["iat"] == days * _DAY_S
    assert claims["iat"] >= before_s
    assert printed.stderr == f"Valid for {days} day(s).\n"


@pytest.mark.parametrize("days", ["0", "366", "1.5"])
def test_no_token_is_valid_for_nothing_or_ever(days: str) -> None:
    """Nothing is printed."""
    refused = CliRunner().invoke(cli, ["token", "olga", "--days", days])
    assert (refused.exit_code, refused.stdout) == (2, "")
