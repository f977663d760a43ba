"""The strict client: many connections, each with one request at a time, and every single outcome counted.

A load generator for throughput is of no use here: it reconnects in silence, and counts a reset and an end as the same. This one retries nothing.
"""

import asyncio
import random
import time
from collections import Counter

# No answer in that time is a hang: everything measured here answers within milliseconds.
HANG_SECONDS = 10.0
# An answer after that time is one that was kept waiting: no failure, but counted.
SLOW_SECONDS = 2.0

# How a request ends.
OK = "ok"
SLOW = "slow"  # the right answer, after more than SLOW_SECONDS
REFUSED = "refused"  # no connection
RESET = "reset"  # the connection was reset before the whole answer was there
CLOSED = "closed"  # it ended before the first byte of an answer
SHORT = "short"  # it ended in the middle of one
STATUS = "status"  # an answer, but not 200
HANG = "hang"
# A kept-alive connection that had been used before ended before any byte of the answer. Every client has to send such a request once more
# (RFC 9112, 9.3.1), since a server may close an idle connection at any time; counted apart from failures, and never hidden.
LATE = "late"
FAILURES = (REFUSED, RESET, CLOSED, SHORT, STATUS, HANG)


class Client:
    """Use as `async with Client(...) as client`: it sends from the start to the end of the block; then read `client.seen`."""

    def __init__(self, port, keep_alive, connections=32, pause=0.01, seed=1):
        self.port, self.keep_alive, self.connections, self.pause = port, keep_alive, connections, pause
        self.random = random.Random(seed)
        self.seen = Counter()
        self.over = False
        self.tasks = []
        self.request = request_bytes(keep_alive)

    async def __aenter__(self):
        self.tasks = [asyncio.create_task(self.lane()) for _ in range(self.connections)]
        return self

    async def __aexit__(self, *_):
        self.over = True
        # Every request that was sent gets its outcome: nothing is cancelled.
        await asyncio.gather(*self.tasks)

    @property
    def failed(self):
        return sum(self.seen[outcome] for outcome in FAILURES)

    async def lane(self):
        connection = None
        while not self.over:
            if connection is not None and connection[0].at_eof():
                connection = drop(connection)  # seen in time, as by any client: no request was lost
            outcome, connection = await self.exchange(connection)
            if outcome == LATE:
                self.seen[LATE] += 1
                outcome, connection = await self.exchange(None)
            self.seen[outcome] += 1
            # Up to twice the mean, so that lanes do not march in step.
            await asyncio.sleep(self.random.uniform(0, 2 * self.pause))
        drop(connection)

    async def exchange(self, connection):
        """One request and its outcome, on that connection or a fresh one; gives the connection back where it can be used again."""
        reused, begun = connection is not None, time.monotonic()
        try:
            async with asyncio.timeout(HANG_SECONDS):
                if not reused:
                    connection = await asyncio.open_connection("127.0.0.1", self.port)
                outcome, stays = await exchange(connection, self.request, reused)
        except TimeoutError:
            outcome, stays = HANG, False
        except OSError:  # of the connect: what happens later is told apart in exchange()
            outcome, stays = REFUSED, False
        if outcome == OK and time.monotonic() - begun > SLOW_SECONDS:
            outcome = SLOW
        return outcome, connection if stays and self.keep_alive else drop(connection)


def request_bytes(keep_alive):
    return f"GET / HTTP/1.1\r\nHost: bench\r\nConnection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n".encode()


async def exchange(connection, request, reused=False):
    """The outcome, and whether the connection stays."""
    reader, writer = connection
    head = b""
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = content_length(head)
        if length is None or not head.startswith(b"HTTP/1.1 200"):
            return STATUS, False
        await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        if head or error.partial:
            return SHORT, False
        return (LATE if reused else CLOSED), False
    except ConnectionError:
        return (LATE if reused and not head else RESET), False
    return OK, b"\r\nconnection: close" not in head.lower()


def content_length(head):
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return None


def drop(connection):
    if connection is not None:
        connection[1].close()
