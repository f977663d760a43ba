"""forward.py PORT HOST:PORT NETNS PIDS: relays connections. The listener stays in the network namespace in which it was
opened; connections are made in NETNS (empty: the same), because a socket belongs to the namespace of its making."""

import asyncio
import ctypes
import os
import signal
import socket
import sys

CLONE_NEWNET = 0x40000000


def enter(namespace):
    libc = ctypes.CDLL(None, use_errno=True)
    with open(namespace) as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            sys.exit(f"forward: {namespace} cannot be entered: {os.strerror(ctypes.get_errno())} (root is needed)")


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


async def relay(reader, writer, host, port):
    try:
        far_reader, far_writer = await asyncio.open_connection(host, port)
    except OSError as error:
        print(f"forward: {host}:{port}: {error}", file=sys.stderr)
        writer.close()
        return
    await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
    far_writer.close()
    writer.close()


async def serve(listener, host, port):
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(lambda r, w: relay(r, w, host, port), sock=listener)
    await stop.wait()
    server.close()


def main():
    local, target, namespace, pids = sys.argv[1:]
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", int(local)))
    except OSError as error:
        sys.exit(f"forward: port {local} of this machine: {error.strerror}; take another, or 0 for any free one")
    listener.listen(128)
    local = listener.getsockname()[1]
    if namespace:
        enter(namespace)
    host, port = target.rsplit(":", 1)
    print(f"http://127.0.0.1:{local}", flush=True)
    # `down` ends this program: its id, and its start time so that no other is hit.
    record = os.path.join(pids, f"forward-{local}")
    os.makedirs(pids, exist_ok=True)
    with open("/proc/self/stat") as stat, open(record, "w") as file:
        file.write(f"{os.getpid()} {stat.read().rsplit(') ', 1)[1].split()[19]}\n")
    try:
        asyncio.run(serve(listener, host, int(port)))
    finally:
        if os.path.exists(record):
            os.unlink(record)


main()
