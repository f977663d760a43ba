"""A load of so many requests a second, whatever comes back and when: the time of each counts from when it should have been sent.

Clients are on another machine in life, and here on the one whose processors the workers block. So whoever asks has a real-time priority: what it waits
for a processor would be counted as an answer's time. And it sleeps by select, to the microsecond: asyncio's epoll is up to a millisecond late.
"""

import asyncio
import collections
import contextlib
import os
import random
import resource
import selectors
import sys
import time
from dataclasses import dataclass, field

# FD_SETSIZE
SELECTS = 1024


@dataclass
class Times:
    """In ms, by kind of request."""

    fast: list = field(default_factory=list)
    blocking: list = field(default_factory=list)
    failed: int = 0

    def percentile(self, share):
        ordered = sorted(self.fast)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


async def ask(connection, path):
    reader, writer = connection
    writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    if not head.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(head[:60])


def run(*what):
    """`load`, as a program that no other holds up."""
    with prompt(), asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(load(*what))


@contextlib.contextmanager
def prompt():
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    # One connection more than select can watch is one that failed, and not the end of everything.
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SELECTS, limits[1]))
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        print("no right to a real-time priority: times are longer than what clients on another machine see", file=sys.stderr)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def load(port, rate, seconds, blocking_share, connections, seed):
    """`connections` that are kept, and more where all of them are busy: an open loop waits for nobody."""
    chance, times = random.Random(seed), Times()
    # The one that has been idle for longest is next, as with many clients: the last one used would be the same few all the time.
    idle = collections.deque()
    for _ in range(connections):
        idle.append(await asyncio.open_connection("127.0.0.1", port))

    async def one(due, path):
        connection = idle.popleft() if idle else None
        try:
            connection = connection or await asyncio.open_connection("127.0.0.1", port)
            await asyncio.wait_for(ask(connection, path), 30)
            (times.fast if path == "/" else times.blocking).append((time.monotonic() - due) * 1000)
            idle.append(connection)
        except Exception:  # whatever it is, it is not the right answer
            times.failed += 1
            if connection:
                connection[1].close()

    begun, tasks = time.monotonic(), set()
    for index in range(int(rate * seconds)):
        due = begun + index / rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        path = "/block" if chance.random() < blocking_share else "/"
        task = asyncio.create_task(one(due, path))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        _, pending = await asyncio.wait(tasks, timeout=40)
        times.failed += len(pending)
    for _, writer in idle:
        writer.close()
    return times
