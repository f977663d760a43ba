"""Serves on the inherited socket, sends WATCHDOG=1 as it was told to, until somebody asks for /hang; grows by /grow."""
import os
import signal
import socket
import sys
import threading
import time

address = os.environ["NOTIFY_SOCKET"]
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.connect("\0" + address[1:] if address.startswith("@") else address)
notify.send(b"READY=1\nWATCHDOG=1")
stop = threading.Event()
held = []
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def ping():
    wait = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6 / 4
    while wait and not stop.wait(wait):
        notify.send(b"WATCHDOG=1")


threading.Thread(target=ping, daemon=True).start()
server = socket.socket(fileno=3)
server.setblocking(True)
while True:
    try:
        connection, _ = server.accept()
    except BlockingIOError:
        continue
    request = connection.recv(4096)
    if b"/grow" in request:
        held.append(bytearray(os.urandom(1 << 20) * 64))
    if b"/hang" in request:
        stop.set()
    body = f"{os.getpid()}\n".encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
    connection.close()
    if b"/hang" in request:
        time.sleep(1000)
