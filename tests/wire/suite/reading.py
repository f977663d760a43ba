"""Readers of bytes as HTTP/1.1: the backend's own, those of other programs that read a little otherwise, and the client's reader of answers."""

import re
from dataclasses import dataclass, field

HEX = re.compile(rb"[ \t]*(?:0[xX])?([0-9a-fA-F]+)")
NUMBER = re.compile(rb"[ \t+]*([0-9]+)")


@dataclass(frozen=True)
class Reader:
    """How one program reads a request where the RFC leaves room, or where programs are known to err."""

    name: str
    lone_feed: bool = True  # a lone LF ends a line
    chunked_wins: bool = True  # over Content-Length
    last_length: bool = False  # of several
    exact: bool = False  # only `chunked` and nothing else is chunked
    underscore: bool = False  # `_` is read as `-`, as by programs of CGI's kind


# What is forwarded is fit for use only where all of these see the same requests in it.
READERS = (
    Reader("usual"),
    Reader("strict lines", lone_feed=False),
    Reader("Content-Length first", chunked_wins=False),
    Reader("last length", last_length=True, exact=True),
    Reader("CGI", underscore=True),
)


@dataclass
class Head:
    line: bytes
    fields: list
    chunked: bool = False
    length: int = 0
    size: int = 0

    def get(self, name):
        return [value for key, value in self.fields if key.lower() == name]


class Unreadable(Exception):
    """No program could read it."""


def head(data, reader=READERS[0]):
    """The first head in it, or `None` where it is not whole."""
    end = re.search(rb"\r?\n\r?\n" if reader.lone_feed else rb"\r\n\r\n", data)
    if not end:
        return None
    lines = re.split(rb"\r?\n" if reader.lone_feed else rb"\r\n", data[: end.start()])
    fields = []
    for line in lines[1:]:
        if line[:1] in b" \t" and fields and line[:1]:
            fields[-1] = (fields[-1][0], fields[-1][1] + b" " + line.strip())
            continue
        name, _, value = line.partition(b":")
        fields.append((name, value.strip(b" \t")))
    made = Head(lines[0], fields, size=end.end())
    return framing(made, reader)


def framing(made, reader):
    plain = [(name.strip().lower().replace(b"_", b"-") if reader.underscore else name.strip().lower(), value) for name, value in made.fields]
    lengths = [value for name, value in plain if name == b"content-length"]
    codings = [value for name, value in plain if name == b"transfer-encoding"]
    if reader.exact:
        made.chunked = codings == [b"chunked"]
    else:
        made.chunked = any(b"chunked" in value.lower() for value in codings)
    if lengths:
        number = NUMBER.match(lengths[-1 if reader.last_length else 0])
        made.length = int(number[1]) if number else 0
        if not reader.chunked_wins:
            made.chunked = False
    return made


def body(data, made, reader=READERS[0]):
    """How long the body is and what it holds, or `None` where it is not whole."""
    if not made.chunked:
        return (made.length, data[: made.length]) if len(data) >= made.length else None
    at, held = 0, b""
    while True:
        feed = data.find(b"\n", at)
        if feed < 0:
            return None
        size = HEX.match(data[at:feed])
        if not size:
            raise Unreadable("a chunk's size")
        size, at = int(size[1], 16), feed + 1
        if size == 0:
            break
        if len(data) < at + size + 2:
            return None
        held += data[at : at + size]
        at += size + (1 if data[at + size : at + size + 1] == b"\n" and reader.lone_feed else 2)
    while True:  # trailers, to the empty line
        feed = data.find(b"\n", at)
        if feed < 0:
            return None
        empty = data[at:feed] in (b"", b"\r")
        at = feed + 1
        if empty:
            return at, held


def requests(data, reader=READERS[0]):
    """The start lines of all whole requests, and what is left over."""
    lines = []
    while data := data.lstrip(b"\r\n"):
        try:
            made = head(data, reader)
            whole = made and body(data[made.size :], made, reader)
        except Unreadable:
            break
        if not whole:
            break
        lines.append(made.line)
        data = data[made.size + whole[0] :]
        if any(b"upgrade" in value.lower() for value in made.get(b"connection")) and not re.match(rb"[A-Z]+ \S+ HTTP/1\.1\r\n", data):
            break  # what follows is of the other protocol
    return lines, data


@dataclass
class Answer:
    status: int
    line: bytes
    fields: list
    body: bytes = b""
    whole: bool = True
    interim: list = field(default_factory=list)

    def get(self, name):
        return [value for key, value in self.fields if key.lower() == name]


def answers(data, methods, ended):
    """The final answers in what a client got, and what is left over and is none. `ended` is whether more could come."""
    found, interim = [], []
    while data:
        end = data.find(b"\r\n\r\n")
        start = re.match(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r\n", data)
        if end < 0 or not start:
            break
        lines = data[:end].split(b"\r\n")
        fields = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines[1:])]
        answer = Answer(int(start[1]), lines[0], fields)
        data = data[end + 4 :]
        if answer.status < 200 and answer.status != 101 and answer.status >= 100:
            interim.append(answer)
            continue
        method = methods[min(len(found), len(methods) - 1)]
        answer.interim, interim = interim, []
        found.append(answer)
        data, answer.body, answer.whole = content(answer, data, method, ended)
        if not answer.whole or answer.status == 101:
            break
    return found, data, interim


def content(answer, data, method, ended):
    """What follows an answer's body, the body, and whether it is whole."""
    if answer.status == 101:
        return b"", data, True
    if method == "HEAD" or answer.status in (204, 304):
        return data, b"", True
    if any(b"chunked" in value.lower() for value in answer.get(b"transfer-encoding")):
        try:
            whole = body(data, Head(b"", [], chunked=True))
        except Unreadable:
            return b"", data, False
        return (data[whole[0] :], whole[1], True) if whole else (b"", data, False)
    lengths = answer.get(b"content-length")
    if lengths:
        length = int(lengths[0]) if lengths[0].isdigit() else 0
        return (data[length:], data[:length], True) if len(data) >= length else (b"", data, False)
    return b"", data, ended
