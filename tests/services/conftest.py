"""How property tests run: the same cases every time, as long as a busy machine needs for them."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "mall",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mall")
