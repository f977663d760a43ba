"""The request line: target, method, version, and what is before it."""

from ..case import HOST, case, get, group, post

CRLF2 = b"\r\n\r\n"
PASSED = "the target is passed on as it came; what it means is left to the program"


def refused(name, sends, why="", status="4xx|501|505", **rest):
    return case(name, sends, status, 0, why, **rest)


def line(name, words, why="", **rest):
    return refused(name, words + b"\r\n" + HOST + CRLF2, why, **rest)


def target(name, path, why="", **rest):
    return case(name, get(path=path), "200", 1, why, opens=True, **rest)


CASES = group(
    "The target",
    [
        target("target-query", b"/a?b=c&d", has=(b"get /a?b=c&d http/1.1",)),
        target("target-encoded", b"/%2e%2e/%00%0d%0a", why=PASSED, has=(b"/%2e%2e/%00%0d%0a",)),
        target("target-dots", b"/a/../b", why=PASSED, has=(b"/a/../b",)),
        target("target-slashes", b"//b.example/a", why=PASSED, has=(b"get //b.example/a",)),
        target("target-backslash", b"/a\\b", why=PASSED),
        case("target-unwise", get(path=b'/a"<>^`{|}'), "200|400", (0, 1), PASSED),
        case("target-fragment", get(path=b"/a#b"), "400", 0, "RFC 9112 3.2 knows no fragment; some programs cut it off"),
        case("target-non-ascii", get(path=b"/gr\xc3\xbcn"), "400", 0, "RFC 3986 knows only ASCII"),
        case("target-high", get(path=b"/\xff"), "400", 0, "RFC 3986 knows only ASCII"),
        refused("target-nul", get(path=b"/a\x00b")),
        refused("target-delete", get(path=b"/a\x7fb"), "RFC 3986 knows no control characters"),
        refused("target-bell", get(path=b"/a\x07b"), "RFC 3986 knows no control characters"),
        refused("target-empty", b"GET  HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        refused("target-word", get(path=b"a"), "it is neither a path nor a URL"),
        refused("target-question", get(path=b"?a=b"), "it is neither a path nor a URL"),
        case("absolute", get(path=b"http://a.example/b"), "200", 1, "a server takes both forms (RFC 9112 3.2.2); the worker gets a path", opens=True, has=(b"get /b http/1.1\r\n", b"host: a.example\r\n")),
        case("absolute-other-host", get(path=b"http://b.example/c"), "200", 1, "the target's host wins, and Host is written anew (RFC 9112 3.2.2)", has=(b"get /c http/1.1\r\n", b"host: b.example\r\n"), hasnt=(b"a.example",)),
        case("absolute-case", get(path=b"HTTP://a.example/"), "200", 1, "a scheme is read in any case (RFC 3986 3.1)"),
        case("absolute-https", get(path=b"https://a.example/"), "200|4xx", (0, 1)),
        case("absolute-port", get(path=b"http://a.example:81/"), "200", 1, "the target's host wins, and Host is written anew (RFC 9112 3.2.2)", has=(b"host: a.example:81\r\n",)),
        case("absolute-query", get(path=b"http://a.example?b"), "200", 1, "an empty path is `/`", has=(b"get /?b http/1.1\r\n",)),
        case("absolute-bare", get(path=b"http://a.example"), "200", 1, "an empty path is `/`", has=(b"get / http/1.1\r\n",)),
        refused("absolute-user", get(path=b"http://a@b.example/"), "a user's name in a URL is taken for an attack (RFC 9110 4.2.4)"),
        refused("absolute-no-host", get(path=b"http:///a"), "an empty host is refused (RFC 9110 4.2.1)"),
        refused("absolute-no-host-field", get(path=b"http://a.example/", host=False), "HTTP/1.1 wants Host in any case (RFC 9112 3.2)"),
        refused("absolute-two-hosts", get(b"Host: b.example", path=b"http://a.example/"), "RFC 9112 3.2 has more than one refused"),
        refused("absolute-bad-host-field", get(b"Host: user@b.example", path=b"http://a.example/", host=False), "RFC 9112 3.2 has an invalid Host refused, whatever the target says"),
        refused("absolute-ftp", get(path=b"ftp://a.example/"), "no scheme that is served here"),
        refused("absolute-backslash", get(path=b"http://a.example\\b/"), "not a host"),
        refused("authority", get(path=b"a.example:80"), "it is for CONNECT alone"),
        refused("asterisk-get", get(path=b"*"), "it is for OPTIONS alone (RFC 9112 3.2.4)"),
        case("asterisk-options", get(path=b"*", method=b"OPTIONS"), "200", 1, "it is for OPTIONS (RFC 9112 3.2.4)", has=(b"options * http/1.1\r\n",)),
        case("absolute-options", get(path=b"http://a.example", method=b"OPTIONS"), "200", 1, "the last proxy makes it `*` (RFC 9112 3.2.4)", has=(b"options * http/1.1\r\n",)),
        case("options", get(path=b"/a", method=b"OPTIONS"), "200", 1, opens=True),
    ],
) + group(
    "The method",
    [
        case("method-own", get(method=b"PROPFIND"), "200", 1, opens=True),
        case("method-token", get(method=b"!#$%&'*+-.^_`|~"), "200|4xx", (0, 1), "a method is a token (RFC 9110 9.1)"),
        case("method-lower", get(method=b"get"), "200|4xx", (0, 1), "methods differ by case (RFC 9110 9.1): another one, which the program may refuse"),
        case("method-lower-head", get(method=b"head"), "200|4xx", (0, 1), "as above"),
        refused("method-connect", get(path=b"a.example:80", method=b"CONNECT"), "this is no forward proxy"),
        refused("method-connect-path", get(method=b"CONNECT"), "this is no forward proxy"),
        refused("method-connect-body", post(b"Content-Length: 5", path=b"a.example:80").replace(b"POST", b"CONNECT"), "this is no forward proxy"),
        refused("method-trace", get(method=b"TRACE"), "it would send fields back that a script must not see (nginx refuses it as well)"),
        refused("method-empty", b" / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        refused("method-space-before", b" GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        refused("method-colon", get(method=b"GE:T"), "a method is a token (RFC 9110 9.1)"),
        refused("method-nul", get(method=b"GE\x00T")),
        refused("method-non-ascii", get(method=b"G\xc3\x8bT")),
    ],
) + group(
    "Spaces of the request line",
    [
        line("line-two-spaces", b"GET  / HTTP/1.1", "one space parts the words (RFC 9112 3)"),
        line("line-two-spaces-after", b"GET /  HTTP/1.1", "one space parts the words (RFC 9112 3)"),
        line("line-tab", b"GET\t/\tHTTP/1.1", "one space parts the words (RFC 9112 3)"),
        line("line-tab-after", b"GET /\tHTTP/1.1", "one space parts the words (RFC 9112 3)"),
        line("line-vertical-tab", b"GET\x0b/ HTTP/1.1"),
        line("line-space-end", b"GET / HTTP/1.1 ", "one space parts the words (RFC 9112 3)"),
        line("line-space-in-target", b"GET /a b HTTP/1.1", "one space parts the words (RFC 9112 3)"),
        line("line-two-versions", b"GET / HTTP/1.1 HTTP/1.0"),
        line("line-return", b"GET /\rHTTP/1.1"),
        case("lines-before", b"\r\n" + get(), "200", 1, "RFC 9112 2.2 has a few empty lines skipped", opens=True),
        case("lines-before-many", b"\r\n" * 20 + get(), "200|400", (0, 1), "RFC 9112 2.2 has a few empty lines skipped"),
        case("lines-before-feed", b"\n" + get(), "200|400", (0, 1), "a lone line feed ends a line for some"),
        refused("lines-before-return", b"\r" + get(), "a lone return ends a line for some"),
        case("lines-between", get() + b"\r\n" + get(), "200 200", 2, answers=2, opens=True, methods=("GET", "GET")),
        refused("lines-spaces", b"  \r\n" + get()),
    ],
) + group(
    "Versions",
    [
        case("version-1.0", get(version=b"HTTP/1.0"), "200", 1, opens=False),
        case("version-1.0-keep-alive", get(b"Connection: keep-alive", version=b"HTTP/1.0"), "200", 1, opens=True),
        case("version-1.0-body", post(b"Content-Length: 5", version=b"HTTP/1.0"), "200", 1, opens=False),
        line("version-0.9-host", b"GET /", "HTTP/0.9 has no fields", status="4xx|505|none"),
        refused("version-0.9", b"GET /\r\n", "HTTP/0.9 is spoken by nobody", status="4xx|505|none"),
        line("version-1.2", b"GET / HTTP/1.2", "no such version was ever made"),
        line("version-1.9", b"GET / HTTP/1.9", "no such version was ever made"),
        line("version-2.0", b"GET / HTTP/2.0", "505 is what ours says of every version that it does not speak"),
        line("version-2", b"GET / HTTP/2", "505 is what ours says of every version that it does not speak"),
        line("version-3", b"GET / HTTP/3", "505 is what ours says of every version that it does not speak"),
        line("version-0.9-said", b"GET / HTTP/0.9", "505 is what ours says of every version that it does not speak"),
        line("version-1", b"GET / HTTP/1", "505 is what ours says of every version that it does not speak"),
        line("version-1.", b"GET / HTTP/1.", "505 is what ours says of every version that it does not speak"),
        line("version-1.10", b"GET / HTTP/1.10", "505 is what ours says of every version that it does not speak"),
        line("version-01.1", b"GET / HTTP/01.1", "505 is what ours says of every version that it does not speak"),
        line("version-comma", b"GET / HTTP/1,1", "505 is what ours says of every version that it does not speak"),
        line("version-lower", b"GET / http/1.1", "505 is what ours says of every version that it does not speak"),
        line("version-word", b"GET / HTTQ/1.1", "505 is what ours says of every version that it does not speak"),
        line("version-space", b"GET / HTTP /1.1", "505 is what ours says of every version that it does not speak"),
        case("preface-h2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "none", 0, "it is told in frames of HTTP/2 that HTTP/1.1 is spoken here", stray=True),
        case("upgrade-h2c", get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), "200", 1, "of HTTP/2 only the first request would be seen: the upgrade is not passed on", hasnt=(b"h2c", b"http2-settings"), opens=True),
        case("upgrade-h2c-body", post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk", b"Content-Length: 5"), "200", 1, "as above", hasnt=(b"h2c", b"http2-settings"), opens=True),
        case("upgrade-h2c-list", get(b"Connection: Upgrade", b"Upgrade: websocket, h2c"), "200", 1, "as above", hasnt=(b"h2c",)),
        case("upgrade-h2c-case", get(b"Connection: upgrade", b"Upgrade: H2C"), "200", 1, "as above", hasnt=(b"h2c",)),
        case("tls-hello", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x00" * 32, "4xx|none", 0),
        case("garbage", b"\xff\xfe\xfd\xfc\r\n\r\n", "4xx|none", 0),
    ],
)
