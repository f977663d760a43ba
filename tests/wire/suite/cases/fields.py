"""Fields: their form, Host, who asked, and what belongs to one connection."""

from ..case import HOST, case, get, group, post

FOLDED = "a folded field is refused (RFC 9112 5.2)"
FORM = "RFC 9110 5.5 lets such a value be refused"
WHO = "what a client says of itself is believed by nobody (--trust-forwarded changes that)"
HOP = "with this field one replica passes a request on to another: from anybody else it is refused, or not seen"
CGI = "programs of CGI's kind read `_` as `-`: such a name is dropped where the other would decide something"


def refused(name, sends, why=""):
    return case(name, sends, "4xx", 0, why)


def field(name, *lines, why=""):
    return refused(name, get(*lines), why)


def passed(name, *lines, why="", **rest):
    return case(name, get(*lines), "200", 1, why, opens=True, **rest)


CASES = group(
    "The form of fields",
    [
        passed("field", b"X-A: b", has=(b"x-a: b\r\n",)),
        passed("field-empty", b"X-A:", has=(b"x-a:",)),
        passed("field-tab-inside", b"X-A: a\tb"),
        passed("field-spaces-around", b"X-A: \t b \t"),
        passed("field-non-ascii", b"X-A: gr\xc3\xbc\xc3\x9fe \xff"),
        passed("field-dots", b"X.A: b", has=(b"x.a: b",)),
        passed("field-token", b"!#$%&'*+-.^`|~: b", why="the name is a token (RFC 9110 5.6.2)"),
        passed("field-underscore", b"X_A: b", why="one that decides nothing is passed on"),
        passed("field-colon-in-value", b"X-A: b: c"),
        passed("field-twice", b"X-A: b", b"X-A: c"),
        field("field-name-empty", b": b"),
        field("field-name-space", b"X A: b"),
        field("field-space-colon", b"X-A : b"),
        field("field-tab-colon", b"X-A\t: b"),
        field("field-no-colon", b"X-A", why=FORM),
        field("field-fold", b"X-A: b", b" c", why=FOLDED),
        field("field-fold-tab", b"X-A: b", b"\tc", why=FOLDED),
        refused("field-fold-first", get(b" X-A: b", host=False, body=b""), ""),
        refused("field-leading-space", b"GET / HTTP/1.1\r\n Host: a.example\r\nX-A: b\r\n\r\n"),
        refused("field-leading-tab", b"GET / HTTP/1.1\r\n\tX-A: b\r\nHost: a.example\r\n\r\n", FOLDED),
        field("field-nul", b"X-A: a\x00b", why=FORM),
        field("field-return", b"X-A: a\rX-B: b"),
        field("field-return-end", b"X-A: a\r", why=FORM),
        field("field-return-name", b"X\r-A: a"),
        field("field-bell", b"X-A: a\x07b", why=FORM),
        field("field-delete", b"X-A: a\x7fb", why=FORM),
        field("field-escape", b"X-A: \x1b[0m", why=FORM),
        field("field-name-nul", b"X\x00A: a"),
        field("field-name-non-ascii", b"X-\xc3\xbc: a", why="the name is no token"),
        field("field-name-parenthesis", b"X(A): a", why="the name is no token"),
        field("field-name-slash", b"X/A: a", why="the name is no token"),
        field("field-name-at", b"X@A: a", why="the name is no token"),
        field("field-name-quoted", b'"X-A": a', why="the name is no token"),
        refused("lines-feed", b"GET / HTTP/1.1\nHost: a.example\n\n", "a lone line feed ends a line for some"),
        refused("lines-feed-first", b"GET / HTTP/1.1\nHost: a.example\r\n\r\n", "a lone line feed ends a line for some"),
        refused("lines-feed-one", b"GET / HTTP/1.1\r\nX-A: b\nHost: a.example\r\n\r\n", "a lone line feed ends a line for some"),
        refused("lines-feed-last", b"GET / HTTP/1.1\r\nHost: a.example\r\n\n", "a lone line feed ends a line for some"),
        refused("lines-feed-length", b"POST / HTTP/1.1\r\nHost: a.example\r\nX-A: b\nContent-Length: 5\r\n\r\nhello", "a lone line feed ends a line for some"),
        refused("lines-return", b"GET / HTTP/1.1\rHost: a.example\r\r", ""),
        refused("lines-return-return", b"GET / HTTP/1.1\r\r\nHost: a.example\r\n\r\n", ""),
    ],
) + group(
    "Host",
    [
        refused("host-none", get(host=False), "HTTP/1.1 wants Host (RFC 9112 3.2)"),
        case("host-none-old", get(host=False, version=b"HTTP/1.0"), "200", 1, opens=False),
        refused("host-twice-same", get(HOST), "RFC 9112 3.2 has more than one refused"),
        refused("host-twice-other", get(b"Host: b.example"), "RFC 9112 3.2 has more than one refused"),
        refused("host-twice-old", get(b"Host: b.example", version=b"HTTP/1.0"), "RFC 9112 3.2 has more than one refused"),
        case("host-empty", get(b"Host:", host=False), "200|400", (0, 1), "an empty one is valid (RFC 9110 7.2)"),
        case("host-port", get(b"Host: a.example:8080", host=False), "200", 1, has=(b"host: a.example:8080\r\n",)),
        case("host-ipv6", get(b"Host: [::1]:8080", host=False), "200", 1, has=(b"host: [::1]:8080\r\n",)),
        case("host-case", get(b"hOsT: A.Example", host=False), "200", 1),
        refused("host-user", get(b"Host: user@a.example", host=False), "RFC 9112 3.2 has an invalid one refused"),
        refused("host-path", get(b"Host: a.example/b", host=False), "RFC 9112 3.2 has an invalid one refused"),
        refused("host-space", get(b"Host: a.example b.example", host=False), "RFC 9112 3.2 has an invalid one refused"),
        refused("host-tab", get(b"Host: a.example\tb", host=False), "RFC 9112 3.2 has an invalid one refused"),
        refused("host-quoted", get(b'Host: "a.example"', host=False), "RFC 9112 3.2 has an invalid one refused"),
        refused("host-non-ascii", get(b"Host: \xc3\xbc.example", host=False), "RFC 9112 3.2 has an invalid one refused"),
        refused("host-hash", get(b"Host: a.example#b", host=False), "RFC 9112 3.2 has an invalid one refused"),
        refused("host-question", get(b"Host: a.example?b", host=False), "RFC 9112 3.2 has an invalid one refused"),
        refused("host-backslash", get(b"Host: a.example\\b", host=False), "RFC 9112 3.2 has an invalid one refused"),
        refused("host-nul", get(b"Host: a.example\x00", host=False), "RFC 9112 3.2 has an invalid one refused"),
        refused("host-folded", get(b"Host: a", b" .example", host=False), FOLDED),
        case("host-port-word", get(b"Host: a.example:b", host=False), "200|400", (0, 1), "whether it is one is left to the program; no byte of it frames"),
        case("host-list", get(b"Host: a.example,b.example", host=False), "200|400", (0, 1), "a comma may stand in a name (RFC 3986 3.2.2)"),
        passed("host-underscore", b"X_Host: b.example"),
    ],
) + group(
    "Who asked",
    [
        passed("forwarded-for", b"X-Forwarded-For: 10.9.9.9", hasnt=(b"10.9.9.9",), has=(b"x-forwarded-for: 127.0.0.1\r\n",), why=WHO),
        passed("forwarded-for-twice", b"X-Forwarded-For: 10.9.9.9", b"X-Forwarded-For: 10.9.9.8", hasnt=(b"10.9.9",), why=WHO),
        passed("forwarded-for-case", b"x-FORWARDED-for: 10.9.9.9", hasnt=(b"10.9.9.9",), why=WHO),
        *[case(f"hop-{word.decode()}", get(b"WorkerCluster-Hop: " + word), "503", 0, HOP) for word in (b"overflow", b"owner", b"ask")],
        passed("hop-other", b"WorkerCluster-Hop: x", hasnt=(b"hop",), why=HOP),
        passed("hop-underscore", b"WorkerCluster_Hop: owner", hasnt=(b"hop",), why=CGI),
        passed("forwarded-for-underscore", b"X_Forwarded_For: 10.9.9.9", hasnt=(b"10.9.9.9",), why=CGI),
        passed("forwarded-for-underscore-one", b"X-Forwarded_For: 10.9.9.9", hasnt=(b"10.9.9.9",), why=CGI),
        passed("forwarded-for-ended", b"X-Forwarded-For: 10.9.9.9", b"Connection: X-Forwarded-For", has=(b"x-forwarded-for: 127.0.0.1\r\n",), hasnt=(b"10.9.9.9",), why=WHO),
        passed("forwarded", b"Forwarded: for=10.9.9.9", hasnt=(b"10.9.9.9",), why=WHO),
        passed("forwarded-proto", b"X-Forwarded-Proto: https", hasnt=(b"https",), why=WHO),
        passed("forwarded-host", b"X-Forwarded-Host: b.example", hasnt=(b"b.example",), why=WHO),
        field("forwarded-for-space", b"X-Forwarded-For : 10.9.9.9"),
        passed("proxy", b"Proxy: http://10.9.9.9", why="a program of CGI's kind has HTTP_PROXY of it; both peers pass it on as well"),
    ],
) + group(
    "Fields of one connection",
    [
        passed("connection-names", b"Connection: X-A", b"X-A: b", hasnt=(b"x-a: b",), why="what Connection names ends here (RFC 9110 7.6.1)"),
        passed("connection-names-two", b"Connection: keep-alive, X-A", b"X-A: b", b"Connection: X-B", b"X-B: c", hasnt=(b"x-a: b", b"x-b: c"), why="what Connection names ends here (RFC 9110 7.6.1)"),
        case("connection-names-close", get(b"Connection: close, X-A", b"X-A: b"), "200", 1, "what Connection names ends here (RFC 9110 7.6.1)", hasnt=(b"x-a: b",), opens=False),
        passed("connection-names-host", b"Connection: Host", has=(b"host: a.example\r\n",), why="what routes is not lost (RFC 9110 7.6.1)"),
        passed("connection-names-authorization", b"Connection: Authorization", b"Authorization: Basic YQ==", has=(b"authorization: basic",)),
        passed("connection-names-cookie", b"Connection: Cookie", b"Cookie: a=b", has=(b"cookie: a=b",)),
        case("connection-names-length", post(b"Connection: Content-Length", b"Content-Length: 5"), "200", 1, "what frames is not lost", has=(b"content-length: 5\r\n",), opens=True),
        case("connection-names-length-hidden", post(b"Connection: Content-Length", b"Content-Length: 41", body=b"GET /hidden HTTP/1.1\r\nHost: a.example\r\n\r\n"), "200", 1, opens=True),
        case("connection-names-coding", post(b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"), "200", 1, "what frames is not lost", opens=True),
        passed("keep-alive", b"Keep-Alive: timeout=5", hasnt=(b"keep-alive:",), why="it is of the client's connection (RFC 9110 7.6.1)"),
        passed("proxy-connection", b"Proxy-Connection: keep-alive", hasnt=(b"proxy-connection",), why="as above"),
        case("connection-close-case", get(b"Connection: ClOsE"), "200", 1, opens=False),
        case("connection-close-list", get(b"Connection: , close ,"), "200", 1, opens=False),
        case("connection-close-and-keep", get(b"Connection: keep-alive, close"), "200", 1, "close wins (RFC 9112 9.3)", opens=False),
        case("connection-keep-and-close-two", get(b"Connection: close", b"Connection: keep-alive"), "200", 1, "close wins (RFC 9112 9.3)", opens=False),
        case("connection-none", get(b"Connection:"), "200", 1, opens=True),
        case("connection-word", get(b"Connection: xclose"), "200", 1, opens=True),
        passed("via-max-forwards", b"Max-Forwards: 0", why="it is for TRACE and OPTIONS"),
    ],
) + group(
    "Large heads",
    [
        case("head-8k", get(b"X-A: " + b"a" * 7000), "200", 1, opens=True),
        case("head-40k", get(b"X-A: " + b"a" * 40000), "431|400|414", 0),
        case("head-40k-fields", get(*[b"X-A%d: %s" % (number, b"a" * 4000) for number in range(10)]), "431|400", 0),
        case("head-endless", b"GET / HTTP/1.1\r\nHost: a.example\r\nX-A: " + b"a" * 200000, "431|400", 0),
        case("fields-90", get(*[b"X-A%d: b" % number for number in range(90)]), "200", 1, opens=True),
        case("fields-150", get(*[b"X-A%d: b" % number for number in range(150)]), "431|400", 0, "more than 100 fields are refused, as haproxy does"),
        case("target-4k", get(path=b"/" + b"a" * 4000), "200", 1, opens=True),
        case("target-40k", get(path=b"/" + b"a" * 40000), "414|431|400", 0),
        case("name-4k", get(b"X-" + b"a" * 4000 + b": b"), "200|4xx", (0, 1), "a long name is one"),
        case("method-long", get(method=b"A" * 4000), "200|4xx", (0, 1), "a long method is one"),
        case("hosts-hidden-in-large", get(b"X-A: " + b"a" * 33000 + b"\r\nContent-Length: 5", body=b"hello"), "431|400", 0),
    ],
)
