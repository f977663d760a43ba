"""A web server for a listening socket that it inherits, in the way of systemd: LISTEN_FDS=1, file descriptor 3.

All workers have the same socket, and whichever is free takes the next connection. Without one (run by hand) the
program binds PORT, 8000 by default.
"""

import json
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"pod": socket.gethostname(), "pid": os.getpid()}).encode() + b"\n"
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass  # not a line for every request


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for the requests in flight

    def __init__(self):
        super().__init__(("", int(os.environ.get("PORT", "8000"))), Handler, bind_and_activate=False)
        if os.environ.get("LISTEN_PID") == str(os.getpid()) and int(os.environ.get("LISTEN_FDS", "0")) > 0:
            self.socket.close()
            self.socket = socket.socket(fileno=3)
        else:
            self.server_bind()
            self.server_activate()


def tell_ready():
    """Optional: say so in the way of sd_notify, rather than be thought ready after a second."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)


def main():
    server = Server()
    # shutdown() waits for serve_forever(), which runs in this thread, so it is called from another.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    tell_ready()
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
