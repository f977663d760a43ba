"""What a worker answers. After each of these two more clients ask, on connections of their own: they must get their answers and nothing else."""

from ..case import case, get, group, post, waits_for

FRAMES = "an answer that says its length in two ways is not passed on"
SYNTAX = "an answer that is none is not passed on"
BROKEN = "the client can tell that it is broken: its end is missing"
UNSAID = "what comes on an idle connection is nobody's answer"
OWN = "the answer is whole; what comes after it is nobody's"


HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a.example\r\n\r\n"


def unread(size):
    """A body that holds a request behind each 8 KiB of empty lines, which are skipped before a request: wherever it is cut, one begins."""
    block = b"\r\n" * 4000 + HIDDEN
    body = (block * (size // len(block) + 1))[:size]
    return (post(b"Content-Length: %d" % size, path=b"/~early-unread", body=body),)


def says(script, status, why="", requests=1, name="", method=b"GET", version=b"HTTP/1.1", fields=(), **rest):
    sends = get(*fields, path=b"/~" + script.encode(), method=method, version=version)
    return case(name or f"answer-{script}", sends, status, requests, why, **rest)


def no(script, why, status="502|500|200cut|none", **rest):
    return says(script, status, why, **rest)


def cut(script, why):
    # Not the end of the connection and no more: a client may take that for a request that was never read, and send it again.
    return no(script, why, status="502|200cut")


CASES = group(
    "Answers",
    [
        says("length", "200", opens=True, gets=(b"content-length: 5\r\n",)),
        says("empty", "200", opens=True),
        says("chunked", "200", opens=True),
        says("chunked-case", "200", opens=True),
        says("chunk-extension", "200", opens=True),
        says("trailer", "200", opens=True),
        says("until-close", "200", opens=True, why="it is sent on in chunks, so that the client's connection goes on"),
        says("close", "200", opens=True),
        says("half", "200"),
        says("cookies", "200", gets=(b"set-cookie: a=1", b"set-cookie: b=2")),
        says("hop", "200", getsnt=(b"x-hop: 1", b"keep-alive: timeout", b"proxy-connection", b"upgrade: websocket"), gets=(b"x-end: 1",), why="what is of the worker's connection ends here (RFC 9110 7.6.1)"),
        says("connection-length", "200", gets=(b"content-length: 5\r\n",), why="what frames is not lost"),
        says("old", "200", opens=True),
        says("old-until-close", "200", opens=True, why="it is sent on in chunks, so that the client's connection goes on"),
        says("old-keep-alive", "200", opens=True),
        says("status-bare", "200", opens=True, why="a reason may be missing"),
        says("status-text", "200", opens=True),
        says("status-999", "999|502|500", why="RFC 9110 15 has it taken for an error of the server's"),
        says("chunked", "200", name="answer-chunked-old", version=b"HTTP/1.0", opens=False, getsnt=(b"transfer-encoding", b"5\r\nhello"), why="HTTP/1.0 knows no chunks: they are taken off, and the connection's end is the body's"),
        says("until-close", "200", name="answer-until-close-old", version=b"HTTP/1.0", opens=False),
        says("chunked", "200", name="answer-chunked-old-keep-alive", fields=(b"Connection: keep-alive",), version=b"HTTP/1.0", opens=False, getsnt=(b"5\r\nhello",), why="as above, although the client would go on"),
        says("until-close", "200", name="answer-until-close-old-keep-alive", fields=(b"Connection: keep-alive",), version=b"HTTP/1.0", opens=False),
        says("trailer", "200", name="answer-trailer-old", version=b"HTTP/1.0", opens=False, getsnt=(b"x-sum: 1",)),
    ],
) + group(
    "Interim answers",
    [
        says("early-hints", "200", opens=True, gets=(b"http/1.1 103",), why="an interim answer is passed on (RFC 9110 15.2)"),
        says("continue", "200", opens=True, why="as above"),
        says("interims", "200", opens=True, why="as above"),
        says("interim-length", "200|502", opens=None, why="RFC 9110 8.6 has no length in it; nobody reads a body there", gets=()),
        no("interim-body", "an interim answer has no body: what follows it is none"),
        says("early-hints", "200", name="answer-early-hints-old", version=b"HTTP/1.0", getsnt=(b" 103 ",), why="HTTP/1.0 knows no interim answers (RFC 9110 15.2)"),
        no("interim-only", "no final answer came"),
    ],
) + group(
    "Answers without a body",
    [
        says("head", "200", method=b"HEAD", opens=True, gets=(b"content-length: 5\r\n",)),
        says("head-chunked", "200", method=b"HEAD", opens=True),
        says("head-body", "200", method=b"HEAD", why=OWN, getsnt=(b"hello",)),
        says("head-stolen", "200", method=b"HEAD", why=UNSAID, getsnt=(b"STOLEN",)),
        says("204", "204", opens=True),
        says("204-length", "204", opens=True, getsnt=(b"content-length",), why="RFC 9110 8.6 has no length in it"),
        says("204-chunked", "204", opens=True, getsnt=(b"transfer-encoding",), why="RFC 9112 6.1 has no coding in it: a client would wait for chunks"),
        says("204-body", "204", why=UNSAID, getsnt=(b"hello",)),
        says("204-stolen", "204", why=UNSAID, getsnt=(b"STOLEN",)),
        says("205", "205", opens=True),
        says("304", "304", opens=True),
        says("304-length", "304", opens=True),
        says("304-stolen", "304", why=UNSAID, getsnt=(b"STOLEN",)),
    ],
) + group(
    "Answers before the request's body",
    [
        case("early-whole", post(b"Content-Length: 5", path=b"/~early"), "200", 1, opens=None),
        case("early-waiting", post(b"Content-Length: 200000", path=b"/~early", body=b"a" * 70000), "200", 0, "the answer is there; what is left of the body is not waited for", opens=False, owes=True),
        case("early-chunked", post(b"Transfer-Encoding: chunked", path=b"/~early-chunked", body=b"5\r\nhello\r\n"), "200", 0, "as above", opens=False, owes=True),
        case(
            "early-unread-hidden", unread(0), "200", (0, 1), "what of a body is not sent on before the answer is no request",
            # Nothing reads the body: the kernel takes some megabytes of it, and how much differs. That none is found is no proof: it is found in about every second run.
            hasnt=(b"\nget /hidden http/1.1\r\nhost: a.example\r\nx-forwarded",), getsnt=(b"/hidden",),
            sized=unread, sizes=(1_000_000, 12_000_000), owes=True,
        ),
        case(
            "early-slowly-hidden", (post(b"Transfer-Encoding: chunked", path=b"/~early-slowly", body=b"5\r\nhello\r\n"), waits_for(b"hello"), b"5\r\nworld\r\n0\r\n\r\n" + HIDDEN), "200", (0, 1),
            "ours says `connection: close` here, after which nothing is a request (RFC 9112 9.6)", getsnt=(b"/hidden",), opens=False,
        ),
        case("early-close", post(b"Content-Length: 200000", path=b"/~early-close", body=b"a" * 70000), "413", 0, "as above", opens=False, owes=True),
    ],
) + group(
    "Lengths of answers",
    [
        no("length+chunked", FRAMES),
        no("chunked+length", FRAMES),
        no("length-twice", FRAMES),
        no("length-other", FRAMES),
        no("length-list", FRAMES),
        no("length-list-other", FRAMES),
        no("length-plus", "it is no number"),
        no("length-minus", "it is no number"),
        no("length-hex", "it is no number"),
        no("length-empty", "it is no number"),
        no("length-huge", "it is no number that fits"),
        no("te-gzip", "a coding that is not known"),
        no("te-identity", "a coding that is not known"),
        no("te-unknown", "a coding that is not known"),
        no("te-twice", FRAMES),
        no("te-tab", "a coding that is not known"),
        no("old-chunked", "RFC 9112 6.1 has the framing taken for faulty"),
        no("length+chunked", FRAMES, name="answer-length+chunked-head", method=b"HEAD"),
    ],
) + group(
    "Chunks of answers",
    [
        cut("chunk-word", BROKEN),
        cut("chunk-minus", BROKEN),
        cut("chunk-0x", BROKEN),
        cut("chunk-feed", BROKEN),
        cut("chunk-unended", BROKEN),
        cut("chunk-huge", BROKEN),
        cut("chunk-late", BROKEN),
        cut("trailer-length", BROKEN + "; a trailer must not frame"),
    ],
) + group(
    "Answers that are cut off",
    [
        no("short-length", BROKEN, status="200cut|502|none"),
        no("short-chunked", BROKEN, status="200cut|502|none"),
        no("until-reset", BROKEN, status="200cut|502|none"),
        no("short-head", SYNTAX, status="502"),
        no("nothing", "a GET is given to the worker once more, then refused", status="502|503", requests=(1, 2, 3)),
        no("reset", "a GET is given to the worker once more, then refused", status="502|503", requests=(1, 2, 3)),
        case("answer-nothing-post", post(b"Content-Length: 5", path=b"/~nothing"), "502", 1, "it may have been carried out, and is not sent twice"),
        case("answer-reset-post", post(b"Content-Length: 5", path=b"/~reset"), "502", 1, "it may have been carried out, and is not sent twice"),
    ],
) + group(
    "Heads of answers",
    [
        no("head-huge", "32 KiB are enough", status="502|500"),
        no("fields-many", "100 fields are enough", status="502|500"),
        no("status-word", SYNTAX, status="502|500"),
        no("status-2-digits", SYNTAX, status="502|500"),
        no("status-4-digits", SYNTAX, status="502|500"),
        no("status-000", SYNTAX, status="502|500"),
        no("version-2", SYNTAX, status="502|500"),
        no("version-0.9", SYNTAX, status="502|500"),
        no("lines-feed", "a lone line feed ends a line for some", status="502|500"),
        no("field-nul", SYNTAX, status="502|500"),
        no("field-return", SYNTAX, status="502|500"),
        no("field-feed", "a lone line feed ends a line for some", status="502|500"),
        no("field-space", SYNTAX, status="502|500"),
        no("field-fold", "a folded field is refused", status="502|500"),
        no("field-bare", SYNTAX, status="502|500"),
        no("field-leading", SYNTAX, status="502|500"),
    ],
) + group(
    "More than was asked for",
    [
        says("extra-now", "200", OWN, getsnt=(b"STOLEN",)),
        says("extra-late", "200", UNSAID, getsnt=(b"STOLEN",)),
        says("extra-words-now", "200", OWN, getsnt=(b"STOLEN",)),
        says("extra-words-late", "200", UNSAID, getsnt=(b"STOLEN",)),
        says("extra-chunked-now", "200", OWN, getsnt=(b"STOLEN",)),
        says("extra-chunked-late", "200", UNSAID, getsnt=(b"STOLEN",)),
        says("extra-return-late", "200", UNSAID),
        says("extra-interim-late", "200", UNSAID, getsnt=(b" 103 ",)),
        says("timeout-late", "200", UNSAID, getsnt=(b" 408 ",)),
        says("close-unsaid", "200", "a connection that ended while it was idle is not used again, least of all for a POST"),
    ],
)
