"""One blocking request at a time, for moments: when does it answer, and which worker?"""

import socket
import time

from .processes import Stuck

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


def ask(port, timeout):
    """The process id of the worker that answered; None where nobody did in time, or the connection ended."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.sendall(REQUEST)
            answer = b""
            while part := connection.recv(4096):
                answer += part
    except OSError:
        return None
    return worker(answer) if answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"hello world\n") else None


def worker(answer):
    for line in answer.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"x-worker":
            return int(value)
    raise Stuck(f"an answer without X-Worker: {answer!r}")


def until_served(port, patience, but_not_by=()):
    """Asks until a worker answers that is none of `but_not_by`; gives it and the moment of its answer.

    A refused connection is tried again after half a millisecond, which is what the moment may be too late."""
    deadline = time.monotonic() + patience
    while (left := deadline - time.monotonic()) > 0:
        pid = ask(port, left)
        if pid is not None and pid not in but_not_by:
            return pid, time.monotonic()
        time.sleep(0.0005)
    raise Stuck(f"port {port} was not served within {patience} s")
