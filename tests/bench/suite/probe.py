"""Probes for moments: when does a port answer, and which worker of it?"""

import selectors
import socket
import time

from .processes import Stuck

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
# Where nobody listens the next probe follows at once: this is what the moment may be too late.
REFUSED_PAUSE = 0.0005
# A connection that was taken may never be answered (the worker that it was given to is dead), so others are sent after it.
NEXT_AFTER = 0.02


def until_served(port, patience, but_not_by=()):
    """Asks until a worker answers that is none of `but_not_by`; gives its process id and the moment of its answer."""
    begun = time.monotonic()
    with selectors.DefaultSelector() as open_probes:
        try:
            while time.monotonic() - begun < patience:
                pause = NEXT_AFTER if send(port, open_probes) else REFUSED_PAUSE
                until = time.monotonic() + pause
                while (left := until - time.monotonic()) > 0:
                    for key, _ in open_probes.select(left):
                        pid = read(key, open_probes)
                        if pid is not None and pid not in but_not_by:
                            return pid, time.monotonic()
        finally:
            for key in list(open_probes.get_map().values()):
                key.fileobj.close()
    raise Stuck(f"port {port} was not served within {patience} s")


def send(port, open_probes):
    """Whether a connection was taken: at once or never, on loopback."""
    connection = socket.socket()
    try:
        connection.settimeout(NEXT_AFTER)
        connection.connect(("127.0.0.1", port))
        connection.sendall(REQUEST)
    except OSError:
        connection.close()
        return False
    connection.setblocking(False)
    open_probes.register(connection, selectors.EVENT_READ, bytearray())
    return True


def read(key, open_probes):
    """The worker that answered, once the answer is whole; None where it is not yet, or never will be."""
    connection, answer = key.fileobj, key.data
    try:
        part = connection.recv(4096)
    except OSError:
        part = b""
    answer += part
    if part and not answer.endswith(b"hello world\n"):
        return None
    open_probes.unregister(connection)
    connection.close()
    return worker(bytes(answer)) if answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"hello world\n") else None


def worker(answer):
    for line in answer.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"x-worker":
            return int(value)
    raise Stuck(f"an answer without X-Worker: {answer!r}")
