"""The three proxies, each before a backend of its own. The peers have what their manuals give as the usual lines for a reverse proxy; their times are
shortened so that what waits for them is short, and idle connections to the backend are used again, as ours are."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
TARGET = ROOT / "target/wire"
SYSTEM = TARGET / "peers/root"
LIBRARIES = SYSTEM / "usr/lib/x86_64-linux-gnu"
PRIMARY = Path(os.environ.get("PRIMARY") or Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/primary")

HAPROXY = """\
global
  maxconn 500
  nbthread 1
defaults
  mode http
  option forwardfor
  http-reuse always
  timeout connect 5s
  timeout client 5s
  timeout server 5s
  timeout tunnel 5s
  timeout http-request 3s
  timeout http-keep-alive 5s
frontend front
  bind 127.0.0.1:{port}
  default_backend workers
backend workers
  server worker 127.0.0.1:{behind}
"""

NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 500; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_header_timeout 3s;
  client_body_timeout 3s;
  client_max_body_size 64m;
  proxy_read_timeout 1s;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream workers {{ server 127.0.0.1:{behind} max_fails=0; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://workers;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""


class Stuck(Exception):
    """Something was waited for in vain; the text says what was seen."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, seconds, look):
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise Stuck(f"waited {seconds} s for {what} in vain")
        time.sleep(0.005)


class Side:
    """One proxy with its backend; `with` starts and ends both."""

    name = ""

    def __init__(self):
        self.folder = TARGET / "run" / self.name
        self.record = self.folder / "record.jsonl"
        self.processes, self.port = [], 0

    def words(self, port, behind):
        """The proxy's command line."""
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    def launch(self, words, environment, log):
        values = os.environ | {"RECORD": str(self.record), "PYTHONDONTWRITEBYTECODE": "1"} | environment
        with open(self.folder / log, "ab") as out:
            process = subprocess.Popen([str(word) for word in words], env=values, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self.processes.append(process)
        return process

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob("*.*"):
            old.unlink()
        self.port = free_port()
        try:
            self.start()
            until(f"{self.name} to serve; see {self.folder}", 20, self.serves)
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        behind = free_port()
        self.launch([sys.executable, HERE / "backend"], {"PORT": str(behind)}, "backend.log")
        until(f"the backend of {self.name}", 10, lambda: answers(behind))
        self.launch(self.words(self.port, behind), {"LD_LIBRARY_PATH": str(LIBRARIES)}, "proxy.log")

    def serves(self):
        if any(process.poll() is not None for process in self.processes):
            raise Stuck(f"{self.name} has ended; see {self.folder}")
        return answers(self.port)

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # its own session, so its own children
                process.wait()


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as probe:
            probe.sendall(b"GET /begin HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
            return b" 200 " in probe.recv(200)
    except OSError:
        return False


class Ours(Side):
    name = "ours"

    def start(self):
        # More than one request at a time: a case that leaves one hanging must not hold up what is sent after it.
        options = ["-i", "1", "-n", f"wire-{self.port}", "--balancing", "queue", "--max-in-flight-per-worker", "32"]
        self.launch([PRIMARY, *options, "--listen", f"127.0.0.1:{self.port}", "--", sys.executable, HERE / "backend"], {}, "proxy.log")

    def version(self):
        return "the primary of this checkout"


class Haproxy(Side):
    name = "haproxy"

    def words(self, port, behind):
        (self.folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, behind=behind))
        return [SYSTEM / "usr/sbin/haproxy", "-db", "-f", self.folder / "haproxy.cfg"]

    def version(self):
        said = told(SYSTEM / "usr/sbin/haproxy", "-v")
        return "haproxy " + re.search(r"version (\S+)", said)[1]


class Nginx(Side):
    name = "nginx"

    def words(self, port, behind):
        (self.folder / "nginx.conf").write_text(NGINX.format(port=port, behind=behind, folder=self.folder))
        return [SYSTEM / "usr/sbin/nginx", "-e", self.folder / "nginx.log", "-c", self.folder / "nginx.conf"]

    def version(self):
        pinned = re.search(r"^nginx=(\S+)", (HERE / "peers.txt").read_text(), re.M)[1]
        return f"nginx {pinned}"


def told(*words):
    done = subprocess.run([str(word) for word in words], env=os.environ | {"LD_LIBRARY_PATH": str(LIBRARIES)}, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


SIDES = (Ours, Haproxy, Nginx)
