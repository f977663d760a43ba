"""Processes from /proc: processor time and memory of a supervisor, and the end of a tree."""

import os
import signal
import socket
import sys
import time
from pathlib import Path


class Stuck(Exception):
    """Something was waited for in vain; the text says what was seen."""


def told(main):
    """Runs a program's `main`; what stops it is said in its own words, without a trace of the benchmark's own lines. 2, for 1 is a missed target."""
    try:
        return main()
    except Stuck as error:
        print(f"bench: {error}", file=sys.stderr)
    except FileNotFoundError as error:
        print(f"bench: {error.filename} is missing: `make bench-shared` builds the primary and installs the peers", file=sys.stderr)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
    return 2


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pid):
    """Processor time of all its threads, in nanoseconds' resolution (/proc/PID/stat counts hundredths, which is more than the primary uses)."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def rss_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise Stuck(f"process {pid} has no VmRSS any more: it has ended")


def alive(pid):
    try:
        # The state follows the name, which may have spaces and parentheses in it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def tree(pid):
    """It and all that it has forked, as far as they still are its descendants."""
    return [pid] + [one for child in children(pid) for one in tree(child)]


def same_weight(pid):
    """Gives a session of its own the weight of this one. Linux shares processors out among sessions first (sched_autogroup), and PM2's daemon makes
    a session of its own, with the usual weight: beside sides in ours it would have twice their share. So every side has a session."""
    try:
        nice = Path("/proc/self/autogroup").read_text().split()[-1]
        Path(f"/proc/{pid}/autogroup").write_text(nice)
    except OSError:
        pass  # no autogroups in this kernel, or an unchanged weight and no right to write it


def end(process, how=signal.SIGTERM, patience=10):
    """Asks a process of ours to end; what is left of its tree after `patience` seconds is killed."""
    pids = tree(process.pid)
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(patience)
    except Exception:  # subprocess.TimeoutExpired
        pids = tree(process.pid) + pids
        process.kill()
        process.wait()
    for pid in pids[1:]:
        if alive(pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def until(what, seconds, look, every=0.01):
    """Looks until there is something, and says what was seen last where there is not."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise Stuck(f"waited {seconds} s for {what} in vain; seen: {seen!r}")
        time.sleep(every)
