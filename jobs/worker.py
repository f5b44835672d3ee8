"""A worker process: a relay, and Dramatiq's threads that run what any relay has sent.

All jobs of a process share its event loop and its stores; a thread of Dramatiq's only waits for
the job that it was given. Hence its threads bound how many jobs run at once, and each queue has its
own: however many wait for providers, what is prompt is run.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog
from dramatiq import Worker

from jobs.broker import Perform, declare_actor, open_broker
from jobs.job import Job, Queue
from jobs.relay import Relay
from jobs.runner import Runner
from services.mall import Mall

GRACE_S = 20.0
"""How long jobs that run may take to end when the worker is asked to stop."""
_LOOK_EVERY_MS = 100

_log = structlog.get_logger(__name__)


async def work(mall: Mall, jobs: Mapping[str, Job], stop: asyncio.Event) -> None:
    """Relay and run jobs until `stop` is set; what is running ends first."""
    runner = Runner(mall, jobs)
    workers = _start(mall, runner)
    broker = open_broker(mall.settings)
    relay = asyncio.create_task(Relay(mall, broker, jobs).run())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({relay, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if relay.done():
            relay.result()  # it ends by itself only when something is wrong with it
    finally:
        relay.cancel()
        stopped.cancel()
        runner.stop()
        await asyncio.gather(*(asyncio.to_thread(_stop, worker) for worker in workers))
        await asyncio.to_thread(broker.close)


def _start(mall: Mall, runner: Runner) -> list[Worker]:
    loop = asyncio.get_running_loop()

    def perform(name: str, ids: Sequence[int]) -> None:
        if name not in runner.jobs:  # of a newer release: its own workers run it
            _log.warning("job_unknown", job=name, rows=len(ids))
            return
        asyncio.run_coroutine_threadsafe(runner.run(name, ids), loop).result()

    workers = [_start_one(mall, queue, perform) for queue in Queue]
    threads = mall.settings.jobs.worker_threads
    _log.info("worker_runs", queues=len(workers), threads_per_queue=threads)
    return workers


def _start_one(mall: Mall, queue: Queue, perform: Perform) -> Worker:
    """Dramatiq knows one worker per broker, hence a broker for each queue."""
    broker, threads = open_broker(mall.settings), mall.settings.jobs.worker_threads
    declare_actor(broker, queue, perform)
    worker = Worker(broker, worker_threads=threads, worker_timeout=_LOOK_EVERY_MS)
    # What is fetched and waits here no other worker can take. Dramatiq's own setting for it is a
    # variable of the environment.
    worker.queue_prefetch = threads
    worker.start()
    return worker


def _stop(worker: Worker) -> None:
    worker.stop(int(GRACE_S * 1000))
    worker.broker.close()
