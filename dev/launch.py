"""Become another program, as another user if asked, that gets a signal when its parent dies.

Run as a script: ``launch.py PARENT_PID DEATH_SIGNAL USER_ID GROUP_ID PROGRAM [ARGUMENT …]`` with -1
for ids that shall stay. The parent cannot do this itself between fork and exec: ``preexec_fn`` may
deadlock as soon as the parent has threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _change_user(user_id: int, group_id: int) -> None:
    os.setgroups([])
    os.setgid(group_id)
    os.setuid(user_id)


def _die_with(parent_pid: int, death_signal: int) -> None:
    # Only Linux can; elsewhere the next start stops what a killed parent left.
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # The parent may have died before the line above.
    if os.getppid() != parent_pid:
        sys.exit(f"process {parent_pid} died before {sys.argv[5]} could start")


def main() -> None:
    """Replace this process by the program in the arguments; raise OSError when that fails."""
    parent_pid, death_signal, user_id, group_id = (int(number) for number in sys.argv[1:5])
    if user_id >= 0:
        _change_user(user_id, group_id)
    # After the user: the kernel forgets the death signal when the user changes.
    _die_with(parent_pid, death_signal)
    # Python ignores these, a shell's background jobs ignore SIGINT, and exec would hand that on.
    for name in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(name, signal.SIG_DFL)
    os.execvp(sys.argv[5], sys.argv[5:])


if __name__ == "__main__":
    main()
