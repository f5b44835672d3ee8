"""How much memory a process has held."""

from pathlib import Path


def read_peak_mib(pid: int) -> float:
    """The most that a process has held so far; 0 when it has just ended.

    Not what `wait4` says of it: that begins with the size of whoever started the process.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    peaks_kib = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    return sum(peaks_kib) / 1024
