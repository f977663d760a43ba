"""A primary that answers the operator's question as /tmp/behaviour says, anew for each connection; honestly where it says nothing.

An honest one uses 60 millicores, so that the replicas beside it stay as they are.
"""

import json
import socket
import threading
import time

BEGUN = time.monotonic()
MILLICORES = 60
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
count = 0


def uptime():
    return int((time.monotonic() - BEGUN) * 1000) + 600_000


def document(clock=None, used=None, **other):
    clock = uptime() if clock is None else clock
    return {
        "version": 1,
        "primaryVersion": "0.1.0",
        "uptimeMilliseconds": clock,
        "state": "Serving",
        "workers": {"desired": 1, "ready": 1, "running": 1, "busy": 0, "restarts": 0},
        "deaths": {"exited": 0, "crashed": 0, "neverReady": 0, "outOfMemory": 0},
        "cpu": {"usageMicroseconds": clock * MILLICORES if used is None else used},
        **other,
    }


def body(text):
    text = text if isinstance(text, bytes) else text.encode()
    return HEAD + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(text) + text


def with_usage(words):
    return body(json.dumps(document(used=4711)).replace("4711", words))


def flood(stream):
    stream.sendall(HEAD + b"content-length: %d\r\n\r\n" % (100 << 20))
    for _ in range(100 << 6):
        stream.sendall(b" " * (1 << 14))


def endless_head(stream):
    stream.sendall(HEAD)
    for number in range(1_000_000):
        stream.sendall(b"x-%d: and more and more and more\r\n" % number)


def drip(stream):
    for byte in body(json.dumps(document())):
        stream.sendall(bytes([byte]))
        time.sleep(0.2)


def answer(stream, behaviour, number):
    bad_counts = {"desired": 1, "ready": 9, "running": 1, "restarts": 0}
    answers = {
        "nan": lambda: with_usage("NaN"),
        "negative": lambda: with_usage("-1"),
        "1e308": lambda: with_usage("1e308"),
        "stale": lambda: body(json.dumps(document(clock=600_000))),
        "backwards": lambda: body(json.dumps(document(clock=10**9 - uptime()))),
        "everything-and-nothing": lambda: body(json.dumps(document(used=number % 2 * (2**64 - 1)))),
        "truncated": lambda: body(json.dumps(document()))[:150],
        "version": lambda: body(json.dumps({"version": 7})),
        "redirect": lambda: b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:8080/metrics\r\ncontent-length: 0\r\n\r\n",
        "html": lambda: body("<html><body>It works!</body></html>"),
        "nested": lambda: body("[" * 500_000),
        "impossible": lambda: body(json.dumps(document(workers=bad_counts))),
        "flapping": lambda: body("{}" if number % 2 else json.dumps(document())),
    }
    streams = {"huge": flood, "endless-head": endless_head, "slow-loris": drip, "silent": lambda _: time.sleep(60)}
    if behaviour in streams:
        streams[behaviour](stream)
    else:
        stream.sendall(answers.get(behaviour, lambda: body(json.dumps(document())))())


def serve(stream, number):
    with stream:
        try:
            stream.settimeout(60)
            while b"\r\n\r\n" not in stream.recv(4096):
                pass
            try:
                with open("/tmp/behaviour") as file:
                    behaviour = file.read().strip()
            except OSError:
                behaviour = "honest"
            answer(stream, behaviour, number)
        except OSError:
            pass  # the operator has heard enough


listener = socket.create_server(("::", 9180), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
while True:
    stream, _ = listener.accept()
    count += 1
    threading.Thread(target=serve, args=(stream, count), daemon=True).start()
