"""Questions of many at once: few round trips, each answered for itself, none by an old answer."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from models.stores import create_redis
from services.leaderboard.questions import MOST_AT_ONCE, Question, Questions
from services.mall import Mall
from settings import Settings

_COUNT = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


def question(key: str, step: int = 1) -> Question:
    """Counts how often it is asked."""
    return (_COUNT, (key,), (step,))


@pytest.fixture
async def questions(mall: Mall) -> Questions:
    await mall.stores.redis.delete("one", "other", "text")
    return mall.questions


async def test_who_asks_the_same_at_once_shares_the_answer(questions: Questions) -> None:
    """And another question is another; asked again, it is asked anew."""
    asked = [questions.ask(question("one")) for _ in range(50)]
    answers = await asyncio.gather(*asked, questions.ask(question("other", 7)))
    assert answers == [1] * 50 + [7]
    assert await questions.ask(question("one")) == 2


async def test_what_is_sent_already_is_not_joined(questions: Questions) -> None:
    """Or an answer might be older than the commit that its question came after."""
    first = asyncio.create_task(questions.ask(question("one")))
    for _ in range(2):
        await asyncio.sleep(0)  # the first is under way
    assert await questions.ask(question("one")) == 2
    assert await first == 1


async def test_more_than_a_round_trip_takes_are_all_answered(questions: Questions) -> None:
    steps = range(1, 2 * MOST_AT_ONCE + 2)
    answers = await asyncio.gather(*(questions.ask(question("one", step)) for step in steps))
    assert sorted(answers) == answers
    assert answers[-1] == sum(steps)


async def test_one_that_fails_fails_alone(mall: Mall, questions: Questions) -> None:
    await mall.stores.redis.set("text", "no number")
    bad, good = await asyncio.gather(
        questions.ask(question("text")), questions.ask(question("one")), return_exceptions=True
    )
    assert isinstance(bad, ResponseError)
    assert good == 1


async def test_who_leaves_takes_no_answer_from_others(questions: Questions) -> None:
    leaving = asyncio.create_task(questions.ask(question("one")))
    staying = asyncio.create_task(questions.ask(question("one")))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 1


async def test_everybody_is_told_that_redis_is_away(settings: Settings) -> None:
    """And may ask again."""
    nowhere = settings.stores.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with create_redis(nowhere) as redis:
        questions = Questions(redis)
        for _ in range(2):
            asked = (questions.ask(question("one", step)) for step in range(3))
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert {type(answer) for answer in answers} == {RedisConnectionError}
        await questions.aclose()
