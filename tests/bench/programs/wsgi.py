"""The program of the WSGI sides: gunicorn and uWSGI, each alone and under the primary."""

import os

BODY = b"hello world\n"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "12"), ("X-Worker", str(os.getpid()))]

# Each worker loads the program by itself (uWSGI: --lazy-apps), so this is one line for each.
with open(os.environ["ROSTER"], "a", encoding="ascii") as roster:
    roster.write(f"{os.getpid()}\n")


def app(environ, start_response):
    start_response("200 OK", HEADERS)
    return [BODY]
