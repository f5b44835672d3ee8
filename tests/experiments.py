"""What stories about experiments begin with, and ask for."""

from typing import Any

from services.experiments.buckets import bucket_of, variant_index
from services.experiments.definitions import Experiment, all_experiments
from services.mall import Mall
from tests.client import Client
from tests.factories import execute

ESTIMATE = """average interval difference differenceInterval lift liftInterval pValue
  sequentialInterval sequentialPValue"""
RESULTS = f"""
  metric sampleRatioPValue sampleRatioMismatch crossedOverUsers earlierUsers
  variants {{
    variant assignedUsers uniqueUsers totalSamples averageValue conversionRate confidenceInterval
    lift pValue sequentialInterval sequentialPValue
    mean {{ {ESTIMATE} }} conversion {{ {ESTIMATE} }} valuePerExposedUser {{ {ESTIMATE} }}
  }}
"""
EXPERIMENT = """
  id key status trafficPercent startedAt stoppedAt variants { key weight payload }
"""
_PROBLEM = "__typename ... on Problem { code message }"
_SAVE = f"""mutation ($input: SaveExperimentInput!) {{ saveExperiment(input: $input) {{
  {_PROBLEM} ... on InvalidInput {{ field }} ... on InvalidState {{ state }}
  ... on SaveExperimentSuccess {{ experiment {{ {EXPERIMENT} }} }}
}} }}"""
_SET = f"""mutation ($input: SetExperimentStatusInput!) {{ setExperimentStatus(input: $input) {{
  {_PROBLEM} ... on NotFound {{ id }} ... on InvalidState {{ state }}
  ... on SetExperimentStatusSuccess {{ experiment {{ {EXPERIMENT} }} }}
}} }}"""
_RECORD = f"""mutation ($input: RecordExperimentEventsInput!) {{
  recordExperimentEvents(input: $input) {{
    {_PROBLEM} ... on InvalidInput {{ field }}
    ... on RecordExperimentEventsSuccess {{ recorded duplicates }}
}} }}"""
_ASSIGNMENT = """query ($key: String!) {
  experimentAssignment(experiment: $key) { experiment variant payload } }"""
_RESULTS = f"""query ($metric: String!) {{
  experiments {{ key results(metric: $metric) {{ {RESULTS} }} }} }}"""


def variants(*keys: str, **weights: float) -> list[dict[str, Any]]:
    """Variants of these keys and weights, 1 unless said otherwise."""
    given = {**dict.fromkeys(keys, 1.0), **weights}
    return [{"key": key, "weight": weight, "payload": None} for key, weight in given.items()]


async def operate(client: Client, query: str, field: str, asked: dict[str, Any]) -> Any:
    """What the operator's mutation is answered; never an error."""
    answer = await client.post(query, {"input": asked}, client.token("olga", "operator"))
    assert "errors" not in answer, answer["errors"]
    return answer["data"][field]


async def save(client: Client, key: str, **terms: Any) -> Any:
    """Save an experiment; of two variants, A and B, unless said otherwise."""
    asked = {"key": key, "variants": variants("A", "B"), **terms}
    return await operate(client, _SAVE, "saveExperiment", asked)


async def move(client: Client, key: str, status: str) -> Any:
    """Set the status of an experiment."""
    asked = {"key": key, "status": status}
    return await operate(client, _SET, "setExperimentStatus", asked)


async def run(client: Client, key: str, **terms: Any) -> None:
    """Save an experiment and start it."""
    assert (await save(client, key, **terms))["__typename"] == "SaveExperimentSuccess"
    assert (await move(client, key, "RUNNING"))["__typename"] == "SetExperimentStatusSuccess"


async def assigned(client: Client, name: str, key: str) -> str | None:
    """The variant that the member sees."""
    found = await assignment(client, name, key)
    return found and found["variant"]


async def assignment(client: Client, name: str, key: str) -> Any:
    """All that the member sees of the experiment."""
    return (await client.data(_ASSIGNMENT, {"key": key}, as_=name))["experimentAssignment"]


def sample(event_id: str, experiment: str = "idea", metric: str = "visit", **more: Any) -> Any:
    """A sample, of 1 unless said otherwise."""
    return {"experiment": experiment, "metric": metric, "eventId": event_id, **more}


async def record(client: Client, name: str, *events: Any) -> Any:
    """Record samples as that member."""
    answer = await client.data(_RECORD, {"input": {"events": events}}, as_=name)
    return answer["recordExperimentEvents"]


async def results(client: Client, key: str, metric: str = "visit") -> Any:
    """What the experiment has come to."""
    token = client.token("olga", "operator")
    answer = await client.post(_RESULTS, {"metric": metric}, token)
    assert "errors" not in answer, answer["errors"]
    found = {each["key"]: each["results"] for each in answer["data"]["experiments"]}
    return found[key]


async def definition(mall: Mall, key: str) -> Experiment:
    """The experiment as it stands."""
    async with mall.stores.read() as session:
        return next(each for each in await all_experiments(session) if each.key == key)


async def stored(mall: Mall, key: str) -> list[Any]:
    """(user id, variant, has crossed over) of everybody who was given a variant."""
    sql = """
        SELECT user_id, variant, crossed_over_at IS NOT NULL FROM ab_tests
        JOIN experiments ON experiments.id = experiment_id WHERE key = :key ORDER BY user_id
    """
    return [tuple(row) for row in await execute(mall, sql, key=key)]


def expected(experiment: Experiment, user_id: int) -> str | None:
    """What the documented hash says the user sees, who has seen nothing yet."""
    if bucket_of(experiment.salt, "enrolment", user_id) >= experiment.traffic_buckets:
        return None
    index = variant_index(experiment.salt, user_id, experiment.weights)
    return experiment.variants[index].key
