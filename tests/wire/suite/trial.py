"""One case at one proxy: what the client gets, what reached the backend, and what the next clients get."""

import dataclasses
import hashlib
import itertools
import json
import time
from dataclasses import asdict, dataclass, field

from . import client, reading, scripts

# Bytes on their way to the backend arrive within this time when the client has its answer, or the end of its connection.
SETTLE_SECONDS = 0.04
FRAMING = (b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"host", b"expect")
# A size is searched in so many steps; in the end they are shorter than what proxies hold of a body (64 KiB).
SEARCHES, WALK = 30, 36_000
# A connection to the backend that gives one what is another's is not used by ours after a second; the next case shall not have it.
FORGOTTEN_SECONDS = 1.5
NUMBERS = itertools.count(1)


@dataclass
class Seen:
    statuses: list = field(default_factory=list)
    # open: another request is answered on the connection; closed; waits: it wants more or says nothing; tunnel: of another protocol now;
    # owed: it is open for the rest of the body; gone: the client ended it; odd: the next request on it got something else.
    state: str = ""
    own: int = 0  # so many of the answers are whole and the backend's
    requests: int = 0
    lines: list = field(default_factory=list)
    framing: list = field(default_factory=list)
    partial: bool = False  # bytes beside whole requests reached the backend
    readings: dict = field(default_factory=dict)  # where readers differ in what they see: requests by reader
    sha256: str = ""
    answered: list = field(default_factory=list)  # the framing fields of the client's answers
    stray: bool = False  # the client got bytes that are no answer
    next: list = field(default_factory=list)  # what later clients got: own, foreign, none, or a status of the proxy's
    forwarded: bytes = b""
    got: bytes = b""

    def told(self):
        return {key: value for key, value in asdict(self).items() if key not in ("forwarded", "got")}


class Record:
    """What the backend has written down, from a moment on."""

    def __init__(self, path):
        self.path, self.offset, self.events = path, path.stat().st_size if path.exists() else 0, []

    def read(self):
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            came = file.read()
        whole = came.rfind(b"\n") + 1
        self.offset += whole
        self.events += [json.loads(line) for line in came[:whole].splitlines()]
        return self

    def streams(self):
        """The bytes of each connection, in the order in which these began to speak."""
        streams = {}
        for event in self.events:
            if "bytes" in event:
                streams.setdefault(event["connection"], []).append(bytes.fromhex(event["bytes"]))
        return [b"".join(parts) for parts in streams.values()]

    def all_said(self):
        self.read()
        return sum("begins" in event for event in self.events) <= sum("said" in event for event in self.events)


def run(side, case):
    if not case.sized:
        return once(side, case)
    low, high = case.sizes
    size, found = (low + high) // 2, None
    for _ in range(SEARCHES):
        seen = once(side, dataclasses.replace(case, sends=case.sized(size // 2 * 2)))
        settled(side.record)
        if any("/hidden" in line for line in seen.lines):
            # How many there are depends on the kernel: one of them is enough to tell.
            seen.statuses, seen.lines, seen.requests, seen.state = [seen.statuses[0], "200"], ["GET /hidden HTTP/1.1"], 1, "open"
            return seen
        if len(seen.statuses) > 1:
            found = seen  # a part of the body was read as a request, but it was cut where it is none
        if seen.state != "closed":
            if high == case.sizes[1] and size > high * 0.9:
                return seen  # it is never closed
            low = size
        else:
            high = size
        # The kernel does not take the same each time: close to the edge it is walked along it.
        size = (low + high) // 2 if high - low > WALK * 4 else size + (WALK if seen.state != "closed" else -WALK)
    return found or seen


def settled(path):
    """Waits until the backend has read what is left of a large body, so that it is not taken for the next case's."""
    size = -1
    while size != (size := path.stat().st_size):
        time.sleep(0.15)


def once(side, case):
    record, seen = Record(side.record), Seen()
    asker = client.Client(side.port)
    try:
        gone = steps(asker, case)
        look = lambda: reading.answers(asker.got, case.methods, bool(asker.ended))  # noqa: E731
        if not gone:
            asker.until(lambda: sum(one.whole for one in look()[0]) >= case.answers or bool(asker.ended), case.patience or client.PATIENCE)
        # A script that has more to say says it to a connection that is idle by now.
        deadline = time.monotonic() + client.PATIENCE
        while not record.all_said() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(SETTLE_SECONDS)
        reached(record.read().streams(), seen)
        seen.next = [later(side, "POST"), later(side, "GET")]
        # Whose answer is whose is anybody's guess from then on.
        lost = "foreign" in seen.next
        seen.state = "gone" if gone else "open" if lost and not asker.ended else after(asker, look, case.owes)
        if lost:
            asker.before = len(asker.got)
        asker.quiet(0)
        found, rest, _ = look() if not seen.state == "open" else (seen_before(asker, case), b"", [])
        seen.got = asker.got
        told(found, rest, asker, seen)
        if lost:
            time.sleep(FORGOTTEN_SECONDS)
    finally:
        asker.close()
    return seen


def steps(asker, case):
    """Does what the client does; says whether it has ended its connection."""
    for step in case.sends:
        if isinstance(step, bytes):
            asker.send(step)
        elif step.what == "pause":
            asker.quiet(step.value)
        elif step.what == "half":
            asker.half()
        elif step.what == "await":
            asker.until(lambda: step.value in asker.got)
        elif step.what == "reset":
            asker.reset()
            return True
    return False


def reached(streams, seen):
    """What the backend got, as it and other programs read it."""
    seen.forwarded = b"\n".join(streams)
    seen.sha256 = hashlib.sha256(b"".join(sorted(streams))).hexdigest() if streams else ""
    by_reader = {reader.name: [reading.requests(stream, reader) for stream in streams] for reader in reading.READERS}
    usual = by_reader["usual"]
    seen.lines = [line.decode("latin-1") for lines, _ in usual for line in lines]
    seen.requests, seen.partial = len(seen.lines), any(rest for _, rest in usual)
    counts = {name: sum(len(lines) for lines, _ in many) for name, many in by_reader.items()}
    if len(set(counts.values())) > 1:
        seen.readings = counts
    for stream in streams:
        made = reading.head(stream)
        seen.framing += framing(made.fields) if made else []


def framing(fields):
    return [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in fields if name.lower().replace(b"_", b"-") in FRAMING]


def later(side, method):
    """What a client gets that asks after the case, on a connection of its own; its path tells whose answer is whose."""
    path = f"/next/{next(NUMBERS)}"
    answer, alone, got = client.asks(side.port, method, path)
    if b"STOLEN" in got or b"X-Stolen" in got:
        return "foreign"
    if answer is None:
        return "none"
    if answer.status == 200 and answer.body == path.encode() and alone and not answer.interim:
        return "own"
    return str(answer.status) if not answer.get(b"x-backend") and alone else "foreign"


def after(asker, look, owes):
    """Whether the client's connection goes on: the next request on it is answered."""
    found, rest, _ = look()
    asker.before = len(asker.got)
    if any(answer.status == 101 for answer in found):
        return "tunnel"
    if asker.ended:
        return "closed"
    if not found or not found[-1].whole:
        return "waits"
    if any(b"close" in value.lower() for value in found[-1].get(b"connection")):
        return "closed" if asker.until(lambda: bool(asker.ended)) or asker.ended else "waits"
    if owes:
        return "owed"
    path = f"/after/{next(NUMBERS)}".encode()
    asker.send(b"GET " + path + b" HTTP/1.1\r\nHost: a.example\r\n\r\n")
    asker.until(lambda: len(asker.got) > asker.before and asker.got.endswith(path))
    if asker.got.endswith(path) and not rest:
        return "open"
    return "closed" if asker.ended and len(asker.got) == asker.before else "odd"


def seen_before(asker, case):
    asker.got = asker.got[: asker.before]
    return reading.answers(asker.got, case.methods, False)[0]


def told(found, rest, asker, seen):
    seen.statuses = [f"{answer.status}{'' if answer.whole else 'cut'}" for answer in found]
    if not found:
        seen.statuses = ["waits" if seen.state == "waits" else "none"]
    seen.answered = [framing(answer.fields) for answer in found]
    whole = [answer for answer in found if answer.whole]
    seen.own = sum(bool(answer.get(b"x-backend")) for answer in whole)
    # A head that is cut off is no stray: it is the beginning of an answer. A whole one that could not be read is.
    begun = rest.startswith(b"HTTP/1.1 ") and b"\r\n\r\n" not in rest
    seen.stray = bool(rest) and not begun or scripts.STOLEN.split(b"\r\n")[1] in asker.got
