"""A full backlog: connections whose requests are sent and that nobody has accepted yet, at the moment of SIGTERM."""

import asyncio
import errno
import resource
import socket
from collections import Counter

from . import client

# What a client does with one connection may take as long as everything that waits before it.
PATIENCE = 60
# A connection that the kernel does not take by then is one more than the backlog holds.
FILL_SECONDS = 20


async def fill(port, count):
    """`count` connections with a request sent on each, as quickly as the kernel takes them; those that it does not take in time are left out."""
    # Both ends are on this machine, but the other end's are another process's.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 256:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 256), hard))
    opened = await asyncio.gather(*(connect(port) for _ in range(count)))
    return [one for one in opened if one is not None]


async def connect(port):
    loop = asyncio.get_running_loop()
    connection = socket.socket()
    connection.setblocking(False)
    try:
        async with asyncio.timeout(FILL_SECONDS):
            await loop.sock_connect(connection, ("127.0.0.1", port))
            await loop.sock_sendall(connection, client.request_bytes(keep_alive=False))
    except (OSError, TimeoutError):
        connection.close()
        return None
    return connection


async def outcomes(connections):
    """How each of them ended."""
    return Counter(await asyncio.gather(*(outcome(one) for one in connections)))


async def outcome(connection):
    loop, answer = asyncio.get_running_loop(), b""
    try:
        async with asyncio.timeout(PATIENCE):
            while part := await loop.sock_recv(connection, 4096):
                answer += part
    except TimeoutError:
        return client.HANG
    except OSError as error:
        return client.RESET if error.errno in (errno.ECONNRESET, errno.EPIPE) else client.CLOSED
    finally:
        connection.close()
    if not answer:
        return client.CLOSED
    whole = answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"hello world\n")
    return client.OK if whole else client.SHORT
