"""A client that sends bytes as they are given, and looks at what comes back."""

import select
import socket
import struct
import time

from . import reading

# For so long a proxy that says nothing is waited for; longer than any of them takes, shorter than their own limits.
PATIENCE = 2.0


class Client:
    def __init__(self, port):
        self.stream = socket.create_connection(("127.0.0.1", port), 5)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream.setblocking(False)
        self.got, self.ended = b"", ""

    def close(self):
        self.stream.close()

    def pump(self, to_send, seconds):
        """Sends some of it, reads what there is. Gives what is left to send."""
        wants = [self.stream] if to_send else []
        reads = [] if self.ended else [self.stream]
        if not (wants or reads):
            return to_send
        readable, writable, _ = select.select(reads, wants, [], seconds)
        if writable:
            try:
                to_send = to_send[self.stream.send(to_send) :]
            except BlockingIOError:
                pass
            except OSError:
                to_send = b""
        if readable:
            try:
                came = self.stream.recv(65536)
                self.got += came
                self.ended = self.ended or ("" if came else "end")
            except BlockingIOError:
                pass
            except OSError:
                self.ended = "reset"
        return to_send

    def send(self, words):
        deadline = time.monotonic() + 10
        while words and time.monotonic() < deadline and not self.ended:
            words = self.pump(words, 0.1)

    def until(self, look, seconds=PATIENCE):
        """Reads until it has what is looked for, or the connection ends. Says whether it has."""
        deadline = time.monotonic() + seconds
        while not look():
            left = deadline - time.monotonic()
            if self.ended or left <= 0:
                return False
            self.pump(b"", left)
        return True

    def quiet(self, seconds):
        """Reads for so long."""
        self.until(lambda: False, seconds)

    def half(self):
        try:
            self.stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def reset(self):
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.close()


def asks(port, method, path):
    """One request on a connection of its own: the answer, whether nothing else came, and all bytes."""
    client = Client(port)
    try:
        body = b"hello" if method == "POST" else b""
        length = b"Content-Length: 5\r\n" if body else b""
        client.send(f"{method} {path} HTTP/1.1\r\nHost: a.example\r\n".encode() + length + b"Connection: close\r\n\r\n" + body)
        client.until(lambda: False, PATIENCE)
        found, rest, _ = reading.answers(client.got, [method], bool(client.ended))
        return (found[0] if found else None), not rest and len(found) == 1, client.got
    finally:
        client.close()
