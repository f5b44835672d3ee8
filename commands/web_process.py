"""A web process: the application, which ends with the process that began it."""

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait

from app import MallApplication, app_from_environment


def app_of_process() -> MallApplication:
    """The application as `MALL_` variables describe it.

    Where it is one of several processes, it ends when their parent has gone, however that ended:
    or it would hold the port, and nobody could stop it or start another.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()
    return app_from_environment()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
