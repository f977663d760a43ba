"""Chunks and trailers of a request."""

from ..case import HALF, RESET, case, get, group, pause, post

CHUNKED = b"Transfer-Encoding: chunked"
LAST = b"0\r\n\r\n"


def chunked(body, *fields):
    return post(CHUNKED, *fields, body=body)


def good(name, body, why="", **rest):
    return case(name, chunked(body), "200", 1, why, opens=True, **rest)


def bad(name, body, why=""):
    return case(name, chunked(body), "400|none", 0, why)


CASES = group(
    "Sizes of chunks",
    [
        good("chunk-hex", b"A\r\n0123456789\r\n" + LAST),
        good("chunk-hex-lower", b"a\r\n0123456789\r\n" + LAST),
        good("chunk-two", b"3\r\nhel\r\n2\r\nlo\r\n" + LAST),
        good("chunk-leading-zeros", b"0005\r\nhello\r\n000\r\n\r\n"),
        case("chunk-bytes-apart", tuple(bytes([byte]) for byte in chunked(b"5\r\nhello\r\n" + LAST)), "200", 1, opens=True),
        bad("chunk-many-zeros", b"0" * 100 + b"5\r\nhello\r\n" + LAST, "a size of more than 16 digits overflows in some programs"),
        bad("chunk-0x", b"0x5\r\nhello\r\n" + LAST),
        bad("chunk-plus", b"+5\r\nhello\r\n" + LAST),
        bad("chunk-minus", b"-5\r\nhello\r\n" + LAST),
        bad("chunk-minus-zero", b"-0\r\n\r\n"),
        bad("chunk-underscore", b"1_0\r\n0123456789abcdef\r\n" + LAST),
        bad("chunk-word", b"zz\r\nhello\r\n" + LAST),
        bad("chunk-empty", b"\r\nhello\r\n" + LAST),
        bad("chunk-space-before", b" 5\r\nhello\r\n" + LAST),
        bad("chunk-tab-before", b"\t5\r\nhello\r\n" + LAST),
        case("chunk-space-after", chunked(b"5 \r\nhello\r\n" + LAST), "200|400", (0, 1), "white space after the size is in use, and read in one way by all readers known"),
        bad("chunk-two-numbers", b"5 5\r\nhello\r\n" + LAST, "what follows a size begins with `;` (RFC 9112 7.1)"),
        bad("chunk-letters-after", b"5x\r\nhello\r\n" + LAST),
        bad("chunk-comma", b"5,5\r\nhello\r\n" + LAST),
        bad("chunk-vertical-tab", b"5\x0b\r\nhello\r\n" + LAST),
        bad("chunk-nul", b"5\x00\r\nhello\r\n" + LAST),
        bad("chunk-2^63", b"8000000000000000\r\nhello\r\n" + LAST, "it does not fit where lengths have a sign"),
        bad("chunk-2^64-1", b"ffffffffffffffff\r\nhello\r\n" + LAST, "it does not fit where lengths have a sign"),
        bad("chunk-2^64+5", b"10000000000000005\r\nhello\r\n" + LAST),
        case("chunk-2^32+5", chunked(b"100000005\r\nhello\r\n" + LAST), "waits", 0, "a size of 4 GiB is one; the rest is waited for"),
    ],
) + group(
    "Lines of chunks",
    [
        bad("chunk-feed", b"5\nhello\r\n" + LAST, "a lone line feed ends a line for some"),
        bad("chunk-feed-after-data", b"5\r\nhello\n" + LAST, "a lone line feed ends a line for some"),
        bad("chunk-feed-last", b"5\r\nhello\r\n0\n\r\n", "a lone line feed ends a line for some"),
        bad("chunk-feed-end", b"5\r\nhello\r\n0\r\n\n", "a lone line feed ends a line for some"),
        bad("chunk-return", b"5\rhello\r\n" + LAST),
        bad("chunk-return-twice", b"5\r\r\nhello\r\n" + LAST),
        bad("chunk-return-after-data", b"5\r\nhello\r0\r\n\r\n"),
        bad("chunk-unended", b"5\r\nhello" + LAST),
        bad("chunk-longer-than-said", b"5\r\nhelloX\r\n" + LAST),
        bad("chunk-any-two-after-data", b"5\r\nhelloXX" + LAST),
        case("chunk-no-last", chunked(b"5\r\nhello\r\n"), "waits", 0),
        case("chunk-no-end", chunked(b"5\r\nhello\r\n0\r\n"), "waits", 0),
        case("chunk-half-close", (chunked(b"5\r\nhello\r\n"), pause(0.1), HALF), "4xx|none", 0),
        case("chunk-reset", (chunked(b"5\r\nhello\r\n"), pause(0.1), RESET), "none", 0),
        good("chunk-extension", b"5;a\r\nhello\r\n" + LAST),
        good("chunk-extension-value", b"5;a=b\r\nhello\r\n0;c\r\n\r\n"),
        good("chunk-extension-quoted", b'5;a="b c"\r\nhello\r\n' + LAST),
        bad("chunk-extension-spaces", b"5 ; a = b\r\nhello\r\n" + LAST, "RFC 9112 7.1.1 has this space taken away; Node's own parser refuses it, and a worker gets the bytes that came"),
        case("chunk-extension-unquoted", chunked(b'5;a="b\r\nhello\r\n' + LAST), "200|400", (0, 1), "nobody is known to read a line's end inside quotes"),
        bad("chunk-extension-return", b"5;a\rb\r\nhello\r\n" + LAST),
        bad("chunk-extension-feed", b"5;a\nb\r\nhello\r\n" + LAST),
        bad("chunk-extension-feed-end", b"5;a\nhello\r\n" + LAST, "a lone line feed ends a line for some"),
        bad("chunk-extension-hidden", b"5;\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        bad("chunk-extension-nul", b"5;a\x00\r\nhello\r\n" + LAST, "RFC 9112 7.1.1 knows no control characters there"),
        bad("chunk-extension-long", b"5;" + b"a" * 20000 + b"\r\nhello\r\n" + LAST, "nobody is known to use extensions; 256 bytes of them are enough"),
    ],
) + group(
    "Trailers",
    [
        good("trailer", b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"),
        good("trailer-said", b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n"),
        bad("trailer-length", b"0\r\nContent-Length: 5\r\n\r\n", "a trailer that frames is refused rather than passed or dropped (RFC 9110 6.5.1)"),
        bad("trailer-coding", b"0\r\nTransfer-Encoding: chunked\r\n\r\n", "as above"),
        bad("trailer-host", b"0\r\nHost: b.example\r\n\r\n", "as above, for one that routes"),
        bad("trailer-authorization", b"0\r\nAuthorization: Basic YQ==\r\n\r\n", "as above, for one that says who asks"),
        bad("trailer-forwarded", b"0\r\nX-Forwarded-For: 10.9.9.9\r\n\r\n", "as above, for one that says who asks"),
        bad("trailer-underscore", b"0\r\nContent_Length: 5\r\n\r\n", "as above, for one that programs of CGI's kind read so"),
        bad("trailer-connection", b"0\r\nConnection: close\r\n\r\n", "as above, for one of the connection"),
        bad("trailer-no-colon", b"0\r\nX-Sum\r\n\r\n", "a trailer that is no field"),
        bad("trailer-folded", b"0\r\nX-Sum: 1\r\n 2\r\n\r\n", "a folded field is refused (RFC 9112 5.2)"),
        bad("trailer-leading-space", b"0\r\n X-Sum: 1\r\n\r\n", "a trailer that is no field"),
        bad("trailer-space-name", b"0\r\nX-Sum : 1\r\n\r\n", "a trailer that is no field"),
        bad("trailer-feed", b"0\r\nX-Sum: 1\n\r\n", "a lone line feed ends a line for some"),
        bad("trailer-return", b"0\r\nX-Sum: 1\rX: 2\r\n\r\n", "a lone return ends a line for some"),
        bad("trailer-nul", b"0\r\nX-Sum: \x00\r\n\r\n", "a trailer that is no field"),
        bad("trailer-large", b"0\r\n" + b"X-Sum: " + b"1" * 20000 + b"\r\n\r\n", "8 KiB are enough"),
        bad("trailer-many", b"0\r\n" + b"X-Sum: 1\r\n" * 2000 + b"\r\n", "8 KiB are enough"),
        case("trailer-request-line", chunked(b"0\r\nGET /hidden HTTP/1.1\r\nHost: b.example\r\n\r\n"), "400|none", 0, "a trailer that is no field"),
        case("te-trailers", get(b"TE: trailers, gzip", b"Connection: TE"), "200", 1, "whether the next server sends trailers is for its own connection", opens=True, hasnt=(b"gzip",)),
    ],
)
