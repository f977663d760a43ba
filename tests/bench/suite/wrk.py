"""wrk: as many requests as a side answers, with 64 connections, from one thread beside it."""

import re
import subprocess
from dataclasses import dataclass

from .processes import Stuck

CONNECTIONS = 64

# wrk counts a connection that the server closed in the middle as an error. A few happen where a load ends; more would make the figure worthless.
MAX_ERRORS = 0.001

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Load:
    rate: float
    p50_ms: float
    p99_ms: float
    requests: int


def run(port, seconds, keep_alive):
    words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "10s"]
    if not keep_alive:
        words += ["-H", "Connection: close"]
    done = subprocess.run([*words, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Stuck(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}; is it installed? apt-get install wrk")
    return parse(done.stdout)


def parse(text):
    rate = float(found(r"Requests/sec:\s+([\d.]+)", text)[0])
    requests = int(found(r"(\d+) requests in", text)[0])
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    bad = sum(int(part) for part in errors.groups()) if errors else 0
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    bad += int(other[1]) if other else 0
    if requests == 0 or bad > requests * MAX_ERRORS:
        raise Stuck(f"{bad} errors in {requests} requests: that is no figure to compare. wrk said:\n{text}")
    return Load(rate, milliseconds("50%", text), milliseconds("99%", text), requests)


def milliseconds(percentile, text):
    value, unit = found(rf"{percentile}\s+([\d.]+)(us|ms|s|m)", text)
    return float(value) * UNITS[unit]


def found(pattern, text):
    match = re.search(pattern, text)
    if not match:
        raise Stuck(f"wrk's output has no {pattern!r}, another version of it? It said:\n{text}")
    return match.groups()
