"""A worker process: a relay, and Dramatiq's threads that run what any relay has sent.

All jobs of a process share its event loop and its stores; a thread of Dramatiq's only waits for
the job that it was given. Hence its threads bound how many jobs run at once, and each queue has its
own: however many wait for providers, what is prompt is run.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog
from dramatiq import Broker, Worker

from jobs.broker import declare_actors, open_broker
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
    broker = open_broker(mall.settings)
    workers = _start(mall, broker, runner)
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
        await asyncio.gather(
            *(asyncio.to_thread(worker.stop, int(GRACE_S * 1000)) for worker in workers)
        )
        broker.close()


def _start(mall: Mall, broker: Broker, runner: Runner) -> list[Worker]:
    loop = asyncio.get_running_loop()

    def perform(name: str, ids: Sequence[int]) -> None:
        if name not in runner.jobs:  # of a newer release: its own workers run it
            _log.warning("job_unknown", job=name, rows=len(ids))
            return
        asyncio.run_coroutine_threadsafe(runner.run(name, ids), loop).result()

    declare_actors(broker, perform)
    threads = mall.settings.jobs.worker_threads
    workers = [
        Worker(broker, queues={queue}, worker_threads=threads, worker_timeout=_LOOK_EVERY_MS)
        for queue in Queue
    ]
    for worker in workers:
        # Of what is fetched and waits here no other worker can take any. Dramatiq's own setting
        # is a variable of the environment.
        worker.queue_prefetch = threads
        worker.start()
    _log.info("worker_runs", queues=len(workers), threads_per_queue=threads)
    return workers
