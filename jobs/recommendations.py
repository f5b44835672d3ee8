"""Learning every night what members are likely to want."""

from jobs.job import Payload, Queue, StepJob
from services.mall import Mall
from services.recommendations.train import TRAINING_JOB, train


async def _train(mall: Mall, _payload: Payload) -> bool:
    await train(mall.stores, mall.clock, mall.zone)  # None: somebody else is at it
    return False


JOBS = (StepJob(TRAINING_JOB, _train, Queue.BULK),)
