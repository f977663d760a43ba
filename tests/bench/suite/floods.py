"""What clients do to memory: many that are idle, slow ones, bodies of 100 MB both ways, heads without an end. Each is a load on a port that returns
when it is at its worst or over, and says how many got what they should have."""

import contextlib
import resource
import select
import socket
import threading
import time

from . import processes

GET = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
BODY = 100 * 1000 * 1000


class Curve:
    """The memory of a process over time, in MiB, ten times a second; use as a context."""

    def __init__(self, pid):
        self.pid, self.points, self.over, self.thread = pid, [], threading.Event(), None

    def __enter__(self):
        begun = time.monotonic()

        def look():
            while not self.over.wait(0.1):
                with contextlib.suppress(OSError):
                    self.points.append((time.monotonic() - begun, processes.rss_mib(self.pid)))

        self.thread = threading.Thread(target=look)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    @property
    def most(self):
        return max(value for _, value in self.points)


def connections(port, count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 512)), hard))
    return [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]


def read_head(connection):
    head = b""
    with contextlib.suppress(OSError):
        while b"\r\n\r\n" not in head:
            part = connection.recv(4096)
            if not part:
                return head
            head += part
    return head


def idle(port):
    """10,000 that have had an answer and ask for nothing more."""
    held, served = connections(port, 10_000), 0
    for one in held:
        one.sendall(GET)
        served += read_head(one).startswith(b"HTTP/1.1 200")
    time.sleep(2)
    close(held)
    return served


def slow(port):
    """1000 that send 60 KiB of a body, a piece each second, for 20 s; a quick one beside them is served meanwhile."""
    held = connections(port, 1000)
    head = b"POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: 61440\r\n\r\n"
    for one in held:
        one.sendall(head)
    served = 0
    for _ in range(20):
        for one in held:
            with contextlib.suppress(OSError):
                one.sendall(b"x" * 3072)
        with socket.create_connection(("127.0.0.1", port)) as quick:
            quick.settimeout(5)
            quick.sendall(GET)
            served += read_head(quick).startswith(b"HTTP/1.1 200")
        time.sleep(1)
    close(held)
    return served


def heads(port):
    """1000 whose head never ends: they are sent away."""
    held = connections(port, 1000)
    for one in held:
        one.setblocking(False)
    line, refused, begun, left = b"X-Flood: " + b"x" * 1000 + b"\r\n", 0, time.monotonic(), set(held)
    first = set(held)
    while left and time.monotonic() - begun < 30:
        for one in list(left):
            with contextlib.suppress(BlockingIOError, ConnectionError):
                one.send(b"GET / HTTP/1.1\r\nHost: bench\r\n" + line if one in first else line)
                first.discard(one)
        readable, _, _ = select_many(left)
        for one in readable:
            with contextlib.suppress(OSError):
                refused += one.recv(4096).startswith(b"HTTP/1.1 431")
            left.discard(one)
    close(held)
    return refused


def select_many(sockets):
    poll = select.poll()
    by_number = {one.fileno(): one for one in sockets}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(0)], [], []


def upload(port):
    """Eight bodies of 100 MB at the same time, as quickly as they are taken."""
    return together(8, lambda: send_body(port))


def send_body(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /sink HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % BODY)
        piece = b"x" * 100_000
        for _ in range(BODY // len(piece)):
            connection.sendall(piece)
        return read_head(connection).startswith(b"HTTP/1.1 200")


def download(port):
    """Eight answers of 100 MB at the same time, each read at about 20 MB/s, so that the worker is quicker than its client."""
    return together(8, lambda: take_body(port))


def take_body(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        came = 0
        while part := connection.recv(200_000):
            came += len(part)
            time.sleep(0.01)
        return came > BODY


def together(count, act):
    done = []
    threads = [threading.Thread(target=lambda: done.append(act())) for _ in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return sum(done)


def close(held):
    for one in held:
        one.close()


# Name, the load, how many are to get what they should, and what the primary may need for it, in MiB beyond what it needs at rest: for an idle
# connection 4 KiB; for a slow one the 64 KiB that are kept of a body, and for a head its 32 KiB, each with the buffer around it; for bodies that flow
# 64 KiB on each side.
ALL = [
    ("10,000 idle connections", idle, 10_000, 60),
    ("1000 slow clients with bodies of 60 KiB", slow, 20, 150),
    ("1000 heads without an end", heads, 1000, 100),
    ("8 bodies of 100 MB to workers", upload, 8, 10),
    ("8 answers of 100 MB to slower clients", download, 8, 10),
]
