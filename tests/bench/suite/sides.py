"""Sides: the same program with the same number of workers, under each supervisor. Every side is started alone, measured, and stopped."""

import os
import statistics
import subprocess
from pathlib import Path

from .pm2 import RunningPm2
from .rows import ROOT
from .running import PEERS, PROGRAMS, Running

BIN = PEERS / "venv/bin"
PRIMARY = Path(os.environ.get("PRIMARY", ROOT / "target/dist/primary"))


class Side:
    """How one supervisor is started; `name` stands in rows, `command` gives the words and `environment` what it adds."""

    def __init__(self, name, command, environment=None, user=None):
        self.name, self.command, self.user = name, command, user
        self.environment = environment or (lambda workers: {})

    def start(self, workers, wait=True, **environment):
        """Started with its workers serving, or (`wait=False`) only just started."""
        running = Running.prepare(self, workers)
        values = {"PORT": str(running.port), "ROSTER": str(running.roster), "PYTHONDONTWRITEBYTECODE": "1"}
        values |= self.environment(workers) | {key: str(value) for key, value in environment.items()}
        words = [str(word) for word in self.command(running.port, workers)]
        running.launch(words, values, self.user)
        return running.waited() if wait else running


def ours(name, command, options=(), user=None):
    """The primary in Shared mode, under a name by which `primary ctl` finds it."""

    def words(port, workers):
        head = [PRIMARY, "-i", workers, "-n", f"bench-{port}", "--listen", f"127.0.0.1:{port}", *options, "--"]
        return head + command

    return Side(name, words, user=user)


class Pm2Side(Side):
    """PM2 in its cluster mode, with a daemon of its own."""

    def start(self, workers, wait=True, **environment):
        running = RunningPm2.prepare(self, workers)
        running.daemon()
        values = {"PORT": str(running.port), "ROSTER": str(running.roster)}
        running.launch(PROGRAMS / "app.js", values | {key: str(value) for key, value in environment.items()})
        return running.waited() if wait else running


def node(policy):
    return lambda workers: {"WORKERS": str(workers), "NODE_CLUSTER_SCHED_POLICY": policy}


OURS = ours("primary", ["node", "app.js"])
# The same with a listening socket for each worker, and with connections handed over, beside the shared one.
STEERED = ours("primary, steered", ["node", "app.js"], ["--balancing", "steered"])
PASSING = ours("primary, passing", ["node", "app.js"], ["--balancing", "passing"])
NODE_RR = Side("Node cluster SCHED_RR", lambda port, workers: ["node", "app.js"], environment=node("rr"))
NODE_NONE = Side("Node cluster SCHED_NONE", lambda port, workers: ["node", "app.js"], environment=node("none"))
PM2 = Pm2Side("PM2", None)
# Node's own start: the program without any supervisor.
NODE_ALONE = Side("node app.js", lambda port, workers: ["node", "app.js"])

UVICORN = [BIN / "uvicorn", "--log-level", "warning", "--no-access-log"]
GUNICORN = [BIN / "gunicorn", "--log-level", "warning", "--backlog", "4096"]
# It closes every connection and does not say so, which wrk would count as an error.
UWSGI = [BIN / "uwsgi", "--add-header", "Connection: close", "--master", "--lazy-apps", "--die-on-term", "--disable-logging", "--need-app", "--wsgi-file", "wsgi.py", "--callable", "app"]

# The same uvicorn takes the inherited socket, or forks its own workers.
OURS_UVICORN = ours("primary, uvicorn", [str(word) for word in UVICORN] + ["--fd", "3", "asgi:app"])
PYTHON = [
    Side(
        "uvicorn --workers",
        lambda port, workers: UVICORN + ["--workers", workers, "--port", port, "--backlog", 4096, "asgi:app"],
    ),
    Side(
        "gunicorn, uvicorn-worker",
        lambda port, workers: GUNICORN + ["-w", workers, "-k", "uvicorn_worker.UvicornWorker", "-b", f"127.0.0.1:{port}", "asgi:app"],
    ),
    Side(
        "granian",
        lambda port, workers: [BIN / "granian", "--interface", "asgi", "--workers", workers, "--host", "127.0.0.1", "--port", port]
        + ["--log-level", "warning", "--backlog", 4096, "asgi:app"],
    ),
]
# A program that serves one request at a time: a gunicorn of one worker in each of our slots, against its own workers and uWSGI's.
OURS_GUNICORN = ours("primary, gunicorn", [str(word) for word in GUNICORN] + ["-w", "1", "wsgi:app"])
WSGI = [
    Side("gunicorn", lambda port, workers: GUNICORN + ["-w", workers, "-b", f"127.0.0.1:{port}", "wsgi:app"]),
    Side("uWSGI", lambda port, workers: UWSGI + ["--http-socket", f"127.0.0.1:{port}", "--processes", workers, "--listen", 4096]),
]

# Puma's own cluster, and a Puma of one thread in each of our slots, with its one request at a time.
PUMA_WORDS = ["puma", "--quiet", "-C", "puma.rb"]
PUMA = Side("Puma's cluster", lambda port, workers: PUMA_WORDS, environment=lambda workers: {"WORKERS": str(workers)})
OURS_PUMA = ours("primary, queue, Puma", PUMA_WORDS, ["--balancing", "queue", "--max-in-flight-per-worker", "1"])


def has_uwsgi():
    return (BIN / "uwsgi").exists()


def groups(language):
    """Ours with the peers that it is compared with."""
    if language == "node":
        return [(OURS, [NODE_RR, NODE_NONE, PM2, STEERED, PASSING])]
    return [(OURS_UVICORN, PYTHON), (OURS_GUNICORN, [side for side in WSGI if side.name != "uWSGI" or has_uwsgi()])]


def calibrate():
    """How many rounds of the hash are a millisecond here: the same number for every side."""
    done = [subprocess.run(["node", PROGRAMS / "app.js", "--calibrate"], capture_output=True, text=True, check=True) for _ in range(3)]
    return int(statistics.median(int(one.stdout) for one in done))
