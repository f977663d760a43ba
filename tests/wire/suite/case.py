"""What a case is: the bytes, what ours has to make of them, and why it may do otherwise than a peer."""

from dataclasses import dataclass

HOST = b"Host: a.example"


@dataclass(frozen=True)
class Step:
    """Something that a client does beside sending: `pause` seconds, `half` close, `reset`, or `await` words in what it got."""

    what: str
    value: object = None


HALF, RESET = Step("half"), Step("reset")


def pause(seconds):
    return Step("pause", seconds)


def waits_for(words):
    return Step("await", words)


@dataclass(frozen=True)
class Case:
    name: str
    sends: tuple  # bytes and steps
    # The answers' statuses, a word for each: `200`, `4xx`, `none` (closed without one), `waits` (neither), `200cut`; `|` between what is as good.
    status: str
    # So many whole requests reach the backend; a tuple where several numbers are as good.
    requests: object
    why: str = ""  # why ours may do otherwise than a peer
    methods: tuple = ()
    opens: bool | None = None  # the client's connection goes on; `None` where either is as good
    has: tuple = ()  # what has to be in the bytes that reach the backend, in any case of letters
    hasnt: tuple = ()
    gets: tuple = ()  # and in those that the client gets
    getsnt: tuple = ()
    answers: int = 1  # so many are waited for
    owes: bool = False  # the client has not sent all of a body: what it sends next would be of that, and no request
    patience: float = 0  # so many seconds are waited for an answer, where the usual are too few
    # Bytes that depend on how much the kernel's buffers take: the size is searched between these two, smaller where the connection is closed.
    sized: object = None
    sizes: tuple = ()
    stray: bool = False  # bytes that are no answer of HTTP/1.1 may reach this client
    group: str = ""

    def wanted(self):
        numbers = self.requests if isinstance(self.requests, tuple) else (self.requests,)
        return f"{self.status.replace('|', ' or ')}, {' or '.join(map(str, numbers))}"


def get(*fields, path=b"/", version=b"HTTP/1.1", method=b"GET", host=True, body=b""):
    """A request of these fields, byte by byte as they are given."""
    lines = [b" ".join((method, path, version)), *([HOST] if host else []), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def post(*fields, body=b"hello", **rest):
    return get(*fields, body=body, method=b"POST", **rest)


def case(name, sends, status, requests, why="", **rest):
    sends = sends if isinstance(sends, tuple) else (sends,)
    first = next((part for part in sends if isinstance(part, bytes)), b"")
    methods = rest.pop("methods", None) or (first.lstrip(b"\r\n").split(b" ")[0].decode("latin-1"),)
    return Case(name, sends, status, requests, why, methods, **rest)


def group(name, cases):
    """All of one group, with its name."""
    return [Case(**(vars(one) | {"group": name})) for one in cases]
