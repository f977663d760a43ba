"""What the backend answers: the request's path has `~NAME`, and NAME is one of these. A script is a list of bytes to send and of words:

  rest    read the request's body now (else it is read before the script begins)
  pause   a moment, so that what follows comes in a packet of its own, when the proxy has done with what came before
  end     close in order; half: say that nothing more comes, and read on; reset: break it off
  hang    say nothing until the connection ends
  echo    from here on it is another protocol: what comes is sent back
"""

MARK = b"X-Backend: 1\r\n"
STOLEN = b"HTTP/1.1 200 OK\r\nX-Stolen: 1\r\nContent-Length: 6\r\n\r\nSTOLEN"


def answer(line, *fields, body=b""):
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"HTTP/1.1 " + line + b"\r\n" + MARK + lines + b"\r\n" + body


def ok(*fields, body=b"hello"):
    return answer(b"200 OK", *fields, body=body)


FIVE = b"Content-Length: 5"
CHUNKED = b"Transfer-Encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
GOOD = ok(FIVE)
# To the key that the cases send (RFC 6455 4.2.2), which haproxy looks at.
ACCEPT = b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI="

SCRIPTS = {
    "length": [GOOD],
    "empty": [ok(b"Content-Length: 0", body=b"")],
    "chunked": [ok(CHUNKED, body=HELLO)],
    "chunked-case": [ok(b"Transfer-Encoding: Chunked", body=HELLO)],
    "chunk-extension": [ok(CHUNKED, body=b"5;a=1\r\nhello\r\n0\r\n\r\n")],
    "trailer": [ok(CHUNKED, b"Trailer: X-Sum", body=b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")],
    "trailer-length": [ok(CHUNKED, body=b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n")],
    "until-close": [ok(), "end"],
    "until-reset": [ok(), "pause", "reset"],
    "close": [ok(FIVE, b"Connection: close"), "end"],
    "close-unsaid": [GOOD, "pause", "end"],
    "half": [GOOD, "half"],
    # Interim answers.
    "early-hints": [answer(b"103 Early Hints", b"Link: </a.css>; rel=preload"), GOOD],
    "continue": [b"HTTP/1.1 100 Continue\r\n\r\n", GOOD],
    "interims": [b"HTTP/1.1 102 Processing\r\n\r\n" * 50, GOOD],
    "interim-length": [answer(b"103 Early Hints", FIVE), GOOD],
    "interim-body": [answer(b"103 Early Hints", FIVE, body=b"hello"), GOOD],
    "interim-only": [b"HTTP/1.1 100 Continue\r\n\r\n", "end"],
    # Answers that have no body, with one.
    "204": [answer(b"204 No Content")],
    "204-length": [answer(b"204 No Content", FIVE)],
    "204-chunked": [answer(b"204 No Content", CHUNKED)],
    "204-body": [answer(b"204 No Content", FIVE), "pause", b"hello"],
    "204-stolen": [answer(b"204 No Content", b"Content-Length: %d" % len(STOLEN)), "pause", STOLEN],
    "304": [answer(b"304 Not Modified", b'ETag: "a"')],
    "304-length": [answer(b"304 Not Modified", FIVE)],
    "304-stolen": [answer(b"304 Not Modified", b"Content-Length: %d" % len(STOLEN)), "pause", STOLEN],
    "205": [answer(b"205 Reset Content", b"Content-Length: 0")],
    "head": [ok(FIVE, body=b"")],
    "head-chunked": [ok(CHUNKED, body=b"")],
    "head-body": [ok(FIVE, body=b"hello")],
    "head-stolen": [ok(b"Content-Length: %d" % len(STOLEN), body=b""), "pause", STOLEN],
    # Another protocol.
    "switch": [answer(b"101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: websocket", ACCEPT, body=b"switched:"), "echo"],
    "switch-bare": [answer(b"101 Switching Protocols"), "echo"],
    "switch-refused": [answer(b"426 Upgrade Required", b"Connection: Upgrade", b"Upgrade: websocket", FIVE, body=b"hello")],
    # Before the request's body is there.
    "early": [GOOD, "rest"],
    "early-close": [answer(b"413 Content Too Large", FIVE, b"Connection: close", body=b"hello"), "end"],
    "early-chunked": [ok(CHUNKED, body=HELLO), "rest"],
    "early-unread": ["pause", "pause", "pause", GOOD, "pause", "pause", "rest"],
    "early-slowly": [ok(b"Content-Length: 10"), "pause", "pause", b"world", "pause", "rest"],
    "refuse": [answer(b"417 Expectation Failed", FIVE, body=b"hello"), "rest"],
    # Two lengths, or none that could be read.
    "length+chunked": [ok(FIVE, CHUNKED, body=HELLO)],
    "chunked+length": [ok(CHUNKED, FIVE, body=HELLO)],
    "length-twice": [ok(FIVE, FIVE)],
    "length-other": [ok(FIVE, b"Content-Length: 6", body=b"hello!")],
    "length-list": [ok(b"Content-Length: 5, 5")],
    "length-list-other": [ok(b"Content-Length: 5, 6", body=b"hello!")],
    "length-plus": [ok(b"Content-Length: +5")],
    "length-minus": [ok(b"Content-Length: -5")],
    "length-hex": [ok(b"Content-Length: 0x5")],
    "length-empty": [ok(b"Content-Length:")],
    "length-huge": [ok(b"Content-Length: 99999999999999999999")],
    "te-gzip": [ok(b"Transfer-Encoding: gzip, chunked", body=HELLO)],
    "te-identity": [ok(b"Transfer-Encoding: identity"), "end"],
    "te-unknown": [ok(b"Transfer-Encoding: xchunked", body=HELLO), "end"],
    "te-twice": [ok(CHUNKED, CHUNKED, body=HELLO)],
    "te-tab": [ok(b"Transfer-Encoding: \x0bchunked", body=HELLO), "end"],
    # Chunks that are none.
    "chunk-word": [ok(CHUNKED, body=b"hello\r\n0\r\n\r\n")],
    "chunk-minus": [ok(CHUNKED, body=b"-5\r\nhello\r\n0\r\n\r\n")],
    "chunk-0x": [ok(CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n")],
    "chunk-feed": [ok(CHUNKED, body=b"5\nhello\n0\n\n")],
    "chunk-unended": [ok(CHUNKED, body=b"5\r\nhello0\r\n\r\n")],
    "chunk-huge": [ok(CHUNKED, body=b"10000000000000005\r\nhello\r\n0\r\n\r\n")],
    "chunk-late": [ok(CHUNKED, body=b"5\r\nhello\r\n"), "pause", b"zz\r\n"],
    # Cut off.
    "short-length": [ok(b"Content-Length: 10"), "pause", "end"],
    "short-chunked": [ok(CHUNKED, body=b"5\r\nhello\r\n"), "pause", "end"],
    "short-head": [b"HTTP/1.1 200 OK\r\nContent-", "pause", "end"],
    "nothing": ["end"],
    "hang": ["hang"],
    "late": ["pause", "pause", GOOD],
    "reset": ["reset"],
    # Heads that are none.
    "head-huge": [ok(b"X-Long: " + b"a" * 40000, FIVE)],
    "fields-many": [ok(*[b"X-%d: 1" % number for number in range(150)], FIVE)],
    "status-word": [answer(b"abc OK", FIVE, body=b"hello")],
    "status-2-digits": [answer(b"20 OK", FIVE, body=b"hello")],
    "status-4-digits": [answer(b"2000 OK", FIVE, body=b"hello")],
    "status-000": [answer(b"000 OK", FIVE, body=b"hello")],
    "status-999": [answer(b"999 OK", FIVE, body=b"hello")],
    "status-bare": [answer(b"200", FIVE, body=b"hello")],
    "status-text": [answer(b"200 Gr\xc3\xbc\xc3\x9fe", FIVE, body=b"hello")],
    "version-2": [GOOD.replace(b"HTTP/1.1", b"HTTP/2.0")],
    "version-0.9": [b"hello", "end"],
    "old": [GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"), "end"],
    "old-until-close": [ok().replace(b"HTTP/1.1", b"HTTP/1.0"), "end"],
    "old-keep-alive": [ok(FIVE, b"Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0")],
    "old-chunked": [ok(CHUNKED, body=HELLO).replace(b"HTTP/1.1", b"HTTP/1.0"), "end"],
    "lines-feed": [GOOD.replace(b"\r\n", b"\n")],
    "field-nul": [ok(b"X-A: a\0b", FIVE)],
    "field-return": [ok(b"X-A: a\rX-B: b", FIVE)],
    "field-feed": [ok(b"X-A: a\nX-B: b", FIVE)],
    "field-space": [ok(b"Content-Length : 5")],
    "field-fold": [ok(b"X-A: a\r\n b", FIVE)],
    "field-bare": [ok(b"X-A", FIVE)],
    "field-leading": [answer(b"200 OK\r\n X-A: a", FIVE, body=b"hello")],
    # More than was asked for.
    "extra-now": [GOOD + STOLEN],
    "extra-late": [GOOD, "pause", STOLEN],
    "extra-words-now": [GOOD + b"STOLEN"],
    "extra-words-late": [GOOD, "pause", b"STOLEN"],
    "extra-chunked-now": [ok(CHUNKED, body=HELLO) + STOLEN],
    "extra-chunked-late": [ok(CHUNKED, body=HELLO), "pause", STOLEN],
    "extra-return-late": [GOOD, "pause", b"\r\n"],
    "extra-interim-late": [GOOD, "pause", b"HTTP/1.1 103 Early Hints\r\nX-Stolen: 1\r\n\r\n"],
    "timeout-late": [GOOD, "pause", answer(b"408 Request Timeout", b"X-Stolen: 1", b"Content-Length: 0", b"Connection: close"), "end"],
    # Fields of one connection.
    "hop": [ok(FIVE, b"Connection: X-Hop", b"X-Hop: 1", b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"Upgrade: websocket", b"X-End: 1")],
    "connection-length": [ok(b"Connection: Content-Length", FIVE)],
    "cookies": [ok(b"Set-Cookie: a=1", b"Set-Cookie: b=2", FIVE)],
}
# These answer before they have read the request's body.
EARLY = {"early", "early-close", "early-chunked", "early-unread", "early-slowly", "refuse"}
