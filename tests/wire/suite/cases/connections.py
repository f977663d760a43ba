"""What happens on a connection: pipelining, ends, expectations, other protocols."""

from ..case import HALF, RESET, case, get, group, pause, post, waits_for

LENGTH = b"Content-Length: 5"
CHUNKED = b"Transfer-Encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
CONTINUE = b"Expect: 100-continue"
ASKS = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", b"Sec-WebSocket-Version: 13")


def many(*methods, **rest):
    return {"answers": len(methods), "methods": methods} | rest


CASES = group(
    "Pipelining",
    [
        case("pipeline-2", get() + get(path=b"/2"), "200 200", 2, opens=True, **many("GET", "GET")),
        case("pipeline-10", b"".join(get(path=b"/%d" % number) for number in range(10)), " ".join(["200"] * 10), 10, opens=True, **many(*["GET"] * 10)),
        case("pipeline-bodies", post(LENGTH) + post(CHUNKED, body=HELLO) + post(LENGTH) + get(), "200 200 200 200", 4, opens=True, **many("POST", "POST", "POST", "GET")),
        case("pipeline-head-first", get(method=b"HEAD") + get(path=b"/2"), "200 200", 2, opens=True, **many("HEAD", "GET")),
        case("pipeline-head-last", get() + get(path=b"/2", method=b"HEAD"), "200 200", 2, opens=True, **many("GET", "HEAD")),
        case("pipeline-bytes-apart", tuple(bytes([byte]) for byte in post(LENGTH) + get()), "200 200", 2, opens=True, **many("POST", "GET")),
        case("pipeline-bad-second", get() + b"GET / HTTP/1.1\r\n\r\n" + get(path=b"/3"), "200 4xx", 1, "HTTP/1.1 wants Host (RFC 9112 3.2)", opens=False, **many("GET", "GET", "GET")),
        case("pipeline-bad-first", b"GET / HTTP/1.1\r\n\r\n" + get(path=b"/2"), "4xx", 0, "HTTP/1.1 wants Host (RFC 9112 3.2)", opens=False, **many("GET", "GET")),
        case("pipeline-bad-chunk-first", post(CHUNKED, body=b"zz\r\n\r\n") + get(path=b"/2"), "4xx", 0, opens=False, **many("POST", "GET")),
        case("pipeline-after-close", get(b"Connection: close") + get(path=b"/2"), "200", 1, "nothing after `close` is a request (RFC 9112 9.6)", opens=False, **many("GET", "GET")),
        case("pipeline-after-old", get(version=b"HTTP/1.0") + get(path=b"/2"), "200", 1, "nothing after it is a request (RFC 9112 9.3)", opens=False, **many("GET", "GET")),
        case("pipeline-after-refused-expect", post(LENGTH, b"Expect: b") + get(path=b"/2"), "4xx", 0, "an expectation that is not known is refused (RFC 9110 10.1.1)", opens=False, **many("POST", "GET")),
        case("pipeline-until-close-first", get(path=b"/~until-close") + get(path=b"/2"), "200 200", 2, "the answer is sent on in chunks, so that the client's connection goes on", opens=True, **many("GET", "GET")),
        case("pipeline-half-close", (get() + get(path=b"/2"), HALF), "200 200", 2, "who closes its half may still read", **many("GET", "GET")),
        case("pipeline-surplus", (get() + b"hello", pause(0.2)), "200", 1, "the rest may become a request", owes=True),
    ],
) + group(
    "Ends of the client's connection",
    [
        case("close-in-line", (b"GET / HT", RESET), "none", 0),
        case("close-in-head", (b"GET / HTTP/1.1\r\nHost: a.example\r\n", RESET), "none", 0),
        case("half-in-line", (b"GET / HT", HALF), "none|4xx", 0, "nobody waits for an answer to a part of a request"),
        case("half-in-head", (b"GET / HTTP/1.1\r\nHost: a.example\r\n", HALF), "none|4xx", 0, "as above"),
        case("half-before-end", (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r", HALF), "none|4xx", 0, "as above"),
        case("half-after-request", (get(path=b"/~late"), HALF), "200", 1, "who closes its half may still read"),
        case("half-after-body", (post(LENGTH, path=b"/~late"), HALF), "200", 1, "who closes its half may still read"),
        case("half-in-body", (post(LENGTH, body=b"hel"), pause(0.1), HALF), "none|4xx", 0),
        case("half-in-large-body", (post(b"Content-Length: 200000", body=b"a" * 100000), pause(0.1), HALF), "none|4xx", 0),
        case("close-in-large-body", (post(b"Content-Length: 200000", body=b"a" * 100000), pause(0.1), RESET), "none", 0),
        case("close-after-request", (get(path=b"/~hang"), pause(0.1), RESET), "none", 1),
        case("slow-head", (b"GET / HT", pause(0.3), b"TP/1.1\r\nHo", pause(0.3), b"st: a.example\r", pause(0.3), b"\n\r", pause(0.2), b"\n"), "200", 1, opens=True),
        case("slow-body", (post(LENGTH, body=b"he"), pause(0.3), b"l", pause(0.3), b"lo"), "200", 1, opens=True),
        case("head-unended", b"GET / HTTP/1.1\r\nHost: a.example\r\n", "408", 0, "a head has 15 s", opens=False, patience=18),
        case("body-unended", post(LENGTH, body=b"hel"), "408", 0, "a small body has 15 s, and is read before a worker is asked", opens=False, patience=18, owes=True),
        case("large-body", post(b"Content-Length: 300000", body=b"a" * 300000), "200", 1, opens=True),
        case("large-chunked", post(CHUNKED, body=b"fa0\r\n" + b"a" * 4000 + b"\r\n" + b"".join(b"fa0\r\n" + b"b" * 4000 + b"\r\n" for _ in range(60)) + b"0\r\n\r\n"), "200", 1, opens=True),
    ],
) + group(
    "Expectations",
    [
        case("continue", (post(LENGTH, CONTINUE, body=b""), waits_for(b"100"), b"hello"), "200", 1, opens=True, gets=(b"http/1.1 100",)),
        case("continue-chunked", (post(CHUNKED, CONTINUE, body=b""), waits_for(b"100"), HELLO), "200", 1, opens=True, gets=(b"http/1.1 100",)),
        case("continue-not-waited", post(LENGTH, CONTINUE), "200", 1, opens=True),
        case("continue-case", (post(LENGTH, b"eXpect: 100-Continue", body=b""), waits_for(b"100"), b"hello"), "200", 1),
        case("continue-get", get(CONTINUE), "200", 1, opens=True, hasnt=(b"expect",), why="without a body there is nothing to wait for (RFC 9110 10.1.1)"),
        case("continue-length-zero", post(CONTINUE, b"Content-Length: 0", body=b""), "200", 1, opens=True),
        case("continue-old", post(LENGTH, CONTINUE, version=b"HTTP/1.0"), "200", 1, "an expectation in HTTP/1.0 is passed over (RFC 9110 10.1.1)", getsnt=(b" 100 ",), hasnt=(b"expect",)),
        case("continue-refused", post(LENGTH, CONTINUE, path=b"/~refuse", body=b""), "417", 0, "the worker decides whether it wants the body", opens=False, owes=True),
        case("continue-refused-sent", post(LENGTH, CONTINUE, path=b"/~refuse"), "417", (0, 1), "the worker decides whether it wants the body"),
        case(
            "continue-refused-hidden",
            (post(b"Content-Length: 41", CONTINUE, path=b"/~refuse", body=b""), waits_for(b"hello"), b"GET /hidden HTTP/1.1\r\nHost: a.example\r\n\r\n"),
            "417", (0, 1), "the worker decides whether it wants the body; what follows is no request", getsnt=(b"/hidden",),
        ),
        case("continue-early", (post(LENGTH, CONTINUE, path=b"/~early", body=b""), waits_for(b"hello"), b"hello"), "200", (0, 1), "the worker has answered without the body"),
        case("continue-head", (get(CONTINUE, LENGTH, method=b"HEAD", body=b""), waits_for(b"100"), b"hello"), "200", 1),
        case("continue-twice", post(LENGTH, CONTINUE, CONTINUE), "200|417", (0, 1), "twice the same means the same"),
        case("expect-unknown", post(LENGTH, b"Expect: something"), "417", 0, "an expectation that is not known is refused (RFC 9110 10.1.1)"),
        case("expect-list", post(LENGTH, b"Expect: 100-continue, something"), "417", 0, "as above"),
        case("expect-obscured", post(LENGTH, b"Expect: y 100-continue"), "417", 0, "as above: known from attacks on the expectation's state"),
        case("expect-empty", post(LENGTH, b"Expect:"), "417|200", (0, 1), "an empty one is none that is known"),
        case("expect-folded", post(LENGTH, b"Expect:", b" 100-continue"), "400", 0, "a folded field is refused (RFC 9112 5.2)"),
    ],
) + group(
    "Other protocols",
    [
        case("upgrade", (get(*ASKS, path=b"/~switch"), waits_for(b"switched:"), b"ping", waits_for(b"ping")), "101", 1, gets=(b"connection: upgrade", b"upgrade: websocket", b"switched:ping")),
        case("upgrade-early-data", (get(*ASKS, path=b"/~switch") + b"ping", waits_for(b"ping")), "101", 1, "what is sent ahead is of the other protocol", gets=(b"switched:ping",)),
        case("upgrade-refused", get(*ASKS, path=b"/~switch-refused"), "426", 1, opens=True),
        case("upgrade-refused-pipeline", get(*ASKS, path=b"/~switch-refused") + get(path=b"/2"), "426 200", 2, opens=True, **many("GET", "GET")),
        case("upgrade-taken-as-plain", get(*ASKS), "200", 1, opens=True),
        case("upgrade-plain-pipeline", get(*ASKS) + get(path=b"/2"), "200 200", 2, opens=True, **many("GET", "GET")),
        case("upgrade-no-connection", get(b"Upgrade: websocket", path=b"/~length"), "200", 1, "without `Connection: upgrade` nobody asked for it (RFC 9110 7.8)", hasnt=(b"upgrade: websocket",), opens=True),
        case("upgrade-no-protocol", get(b"Connection: Upgrade", path=b"/~length"), "200", 1, hasnt=(b"connection: upgrade",), opens=True),
        case("upgrade-old", get(*ASKS, path=b"/~length", version=b"HTTP/1.0"), "200", 1, "HTTP/1.0 knows no upgrade (RFC 9110 7.8)", hasnt=(b"upgrade: websocket",)),
        case("upgrade-not-asked", get(path=b"/~switch"), "502|500", 1, "the worker switches although nobody asked", getsnt=(b"switched",)),
        case("upgrade-not-asked-old", get(path=b"/~switch", version=b"HTTP/1.0"), "502|500", 1, "as above", getsnt=(b"switched",)),
        case("upgrade-bare", get(*ASKS, path=b"/~switch-bare"), "502|500", 1, "it does not say to what it switches (RFC 9110 15.2.2)"),
        case("upgrade-body", (post(*ASKS, LENGTH, path=b"/~switch"), waits_for(b"switched:"), b"ping", waits_for(b"ping")), "101", 1, "an upgrade may have a body, which comes first", gets=(b"switched:ping",)),
        case("upgrade-head", get(*ASKS, path=b"/~switch-refused", method=b"HEAD"), "426|200", 1),
        case("upgrade-fake-hidden", get(*ASKS, path=b"/~length") + get(path=b"/hidden"), "200 200", 2, "a refused upgrade opens no tunnel", **many("GET", "GET")),
        case("upgrade-forwarded-wrong-version", get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 777", path=b"/~switch-refused") + get(path=b"/hidden"), "426 200", 2, "a refused upgrade opens no tunnel", **many("GET", "GET")),
    ],
)
