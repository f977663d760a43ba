"""How long a request's body is: Content-Length, Transfer-Encoding, and both."""

from ..case import case, get, group, post

FIVE = b"Content-Length: 5"
CHUNKED = b"Transfer-Encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
# What is hidden in a body where two programs see its end in two places.
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a.example\r\n\r\n"
STRICT_TE = "RFC 9112 6.1 has a coding that is not known refused"


def refused(name, sends, why=""):
    return case(name, sends, "4xx|501", 0, why)


def length(name, value, why=""):
    return refused(name, post(b"Content-Length:" + value), why)


def coding(name, value, why=STRICT_TE):
    return refused(name, post(b"Transfer-Encoding:" + value, body=HELLO), why)


BOTH = "both lengths are the sign of smuggling; RFC 9112 6.1 lets a server refuse them"
CASES = group(
    "Content-Length and Transfer-Encoding together",
    [
        refused("cl-then-te", post(b"Content-Length: 6", CHUNKED, body=b"0\r\n\r\nG"), BOTH),
        refused("te-then-cl", post(CHUNKED, b"Content-Length: 6", body=b"0\r\n\r\nG"), BOTH),
        refused("te-cl-hidden", post(b"Content-Length: 4", CHUNKED, body=b"2a\r\n" + HIDDEN + b"\r\n0\r\n\r\n"), BOTH),
        refused("cl-te-hidden", post(b"Content-Length: %d" % (5 + len(HIDDEN)), CHUNKED, body=b"0\r\n\r\n" + HIDDEN), BOTH),
        refused("cl-zero-and-te", post(b"Content-Length: 0", CHUNKED, body=HELLO), BOTH),
        refused("cl-and-te-agree", post(b"Content-Length: 15", CHUNKED, body=HELLO), BOTH),
        refused("cl-and-te-get", get(FIVE, CHUNKED, body=HELLO), BOTH),
        refused("cl-and-te-identity", post(FIVE, b"Transfer-Encoding: identity"), STRICT_TE),
        refused("cl-and-te-unknown", post(FIVE, b"Transfer-Encoding: xchunked"), STRICT_TE),
        refused("cl-and-te-space-name", post(FIVE, b"Transfer-Encoding : chunked", body=HELLO)),
        refused("cl-and-te-folded", post(FIVE, b"Transfer-Encoding:\r\n chunked", body=HELLO), "a folded field is refused (RFC 9112 5.2)"),
        case("cl-and-te-underscore", post(FIVE, b"Transfer_Encoding: chunked"), "200", 1, hasnt=(b"transfer_encoding",), opens=True),
        case("te-and-cl-underscore", post(CHUNKED, b"Content_Length: 3", body=HELLO), "200", 1, hasnt=(b"content_length",), opens=True),
        refused("cl-and-te-old", post(FIVE, CHUNKED, version=b"HTTP/1.0"), BOTH),
    ],
) + group(
    "Content-Length",
    [
        case("cl", post(FIVE), "200", 1, opens=True, has=(b"content-length: 5\r\n",)),
        case("cl-zero", post(b"Content-Length: 0", body=b""), "200", 1, opens=True),
        case("cl-zero-hidden", post(b"Content-Length: 0", body=HIDDEN), "200 200", 2, answers=2, opens=True, methods=("POST", "GET")),
        case("cl-none-post", post(body=b""), "200", 1, opens=True, has=(b"content-length: 0\r\n",)),
        case("cl-none-hidden", post(body=HIDDEN), "200 200", 2, answers=2, opens=True, methods=("POST", "GET")),
        case("cl-get", get(FIVE, body=b"hello"), "200", 1, opens=True, has=(b"content-length: 5\r\n",)),
        case("cl-head", get(FIVE, method=b"HEAD", body=b"hello"), "200", 1, opens=True),
        case("cl-name-case", post(b"cOnTeNt-LeNgTh: 5"), "200", 1, opens=True),
        case("cl-no-space", post(b"Content-Length:5"), "200", 1, opens=True),
        case("cl-tab", post(b"Content-Length:\t5\t "), "200", 1, "white space around a value is not of it (RFC 9110 5.5)", opens=True),
        case("cl-leading-zeros", post(b"Content-Length: 0005"), "200", 1, opens=True, has=(b"content-length: 5\r\n",)),
        case("cl-short", post(FIVE, body=b"hel"), "waits", 0),
        case("cl-surplus", post(FIVE, body=b"helloGET /hidden HTTP/1.1\r\nHost: a.example\r\n\r\n"), "200 200", 2, answers=2, methods=("POST", "GET")),
        refused("cl-twice-same", post(FIVE, FIVE), "the second was put in by somebody who had not read the first; RFC 9110 8.6 allows either"),
        refused("cl-twice-other", post(FIVE, b"Content-Length: 3")),
        refused("cl-twice-zero", post(b"Content-Length: 0", FIVE)),
        length("cl-list-same", b" 5, 5", "as two fields with the same"),
        length("cl-list-other", b" 5, 3"),
        length("cl-list-comma", b" 5,"),
        length("cl-plus", b" +5"),
        length("cl-minus", b" -5"),
        length("cl-minus-zero", b" -0"),
        length("cl-hex", b" 0x5"),
        length("cl-hex-letter", b" a"),
        length("cl-fraction", b" 5.0"),
        length("cl-exponent", b" 5e0"),
        length("cl-underscore", b" 1_0"),
        length("cl-quoted", b' "5"'),
        length("cl-two-words", b" 5 5"),
        length("cl-empty", b""),
        length("cl-word", b" five"),
        length("cl-vertical-tab", b" \x0b5"),
        length("cl-form-feed", b" 5\x0c"),
        length("cl-nul", b" 5\x00"),
        length("cl-letters-after", b" 5abc"),
        length("cl-2^63", b" 9223372036854775808", "it does not fit where lengths have a sign"),
        length("cl-2^64-1", b" 18446744073709551615", "it does not fit where lengths have a sign"),
        length("cl-2^64+5", b" 18446744073709551621"),
        length("cl-huge", b" " + b"9" * 60),
        refused("cl-space-name", post(b"Content-Length : 5")),
        refused("cl-tab-name", post(b"Content-Length\t: 5")),
        refused("cl-folded", post(b"Content-Length:\r\n 5"), "a folded field is refused (RFC 9112 5.2)"),
        case("cl-dotted-name", post(FIVE, b"Content.Length: 3"), "200", 1, opens=True),
    ],
) + group(
    "Transfer-Encoding",
    [
        case("te", post(CHUNKED, body=HELLO), "200", 1, opens=True),
        case("te-value-case", post(b"Transfer-Encoding: ChUnKeD", body=HELLO), "200", 1, opens=True, has=(b"transfer-encoding: chunked\r\n|content-length: 5\r\n",)),
        case("te-name-case", post(b"tRANSFER-eNCODING: chunked", body=HELLO), "200", 1, opens=True),
        case("te-tab", post(b"Transfer-Encoding:\tchunked", body=HELLO), "200", 1, "white space around a value is not of it (RFC 9110 5.5)", opens=True),
        case("te-no-space", post(b"Transfer-Encoding:chunked", body=HELLO), "200", 1, opens=True),
        case("te-spaces-after", post(b"Transfer-Encoding: chunked \t", body=HELLO), "200", 1, "white space around a value is not of it (RFC 9110 5.5)", opens=True),
        case("te-get", get(CHUNKED, body=HELLO), "200", 1, opens=True),
        case("te-empty-body", post(CHUNKED, body=b"0\r\n\r\n"), "200", 1, opens=True),
        case("te-hidden", post(CHUNKED, body=b"0\r\n\r\n" + HIDDEN), "200 200", 2, answers=2, methods=("POST", "GET"), opens=True),
        coding("te-unknown", b" xchunked"),
        coding("te-chunked-x", b" chunkedx"),
        coding("te-identity", b" identity"),
        coding("te-chunked-identity", b" chunked, identity"),
        coding("te-identity-chunked", b" identity, chunked"),
        coding("te-gzip-chunked", b" gzip, chunked", "codings other than chunked are done by nobody; what cannot be read is not passed on"),
        coding("te-chunked-gzip", b" chunked, gzip"),
        coding("te-chunked-chunked", b" chunked, chunked"),
        coding("te-comma-after", b" chunked,", "an empty member is allowed by RFC 9110 5.6.1 and read in two ways"),
        coding("te-comma-before", b" , chunked", "as above"),
        coding("te-vertical-tab", b" \x0bchunked"),
        coding("te-form-feed", b" chunked\x0c"),
        coding("te-nul", b" chunked\x00"),
        coding("te-quoted", b' "chunked"'),
        coding("te-parameter", b" chunked;a=b"),
        coding("te-empty", b""),
        coding("te-non-ascii", b" chun\xe2\x84\xaaed"),
        refused("te-twice-same", post(CHUNKED, CHUNKED, body=HELLO), STRICT_TE),
        refused("te-twice-identity-after", post(CHUNKED, b"Transfer-Encoding: identity", body=HELLO), STRICT_TE),
        refused("te-twice-identity-before", post(b"Transfer-Encoding: identity", CHUNKED, body=HELLO), STRICT_TE),
        refused("te-folded", post(b"Transfer-Encoding: x,\r\n chunked", body=HELLO), "a folded field is refused (RFC 9112 5.2)"),
        refused("te-space-name", post(b"Transfer-Encoding : chunked", body=HELLO)),
        refused("te-leading-space", post(b"X-A: b\r\n Transfer-Encoding: chunked", body=HELLO), "a folded field is refused (RFC 9112 5.2)"),
        refused("te-old", post(CHUNKED, body=HELLO, version=b"HTTP/1.0"), "RFC 9112 6.1 has the framing taken for faulty"),
    ],
)
