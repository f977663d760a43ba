use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::super::forwarded::written;
use super::super::together::Paths;
use super::*;

const NOTHING: &Paths = &Paths::none();
const BY: Forwarder<'_> = Forwarder {
    client: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7)), 4711),
    written: b"x-forwarded-for: 10.0.0.7\r\nforwarded: for=10.0.0.7\r\nx-forwarded-proto: http\r\n",
    trusts: false,
    peers: &[],
    together: NOTHING,
    cookie: None,
};

#[test]
fn a_client_is_written_once_for_all_its_requests() {
    assert_eq!(written(BY.client.ip()), BY.written);
    let mapped = "::ffff:10.0.0.7".parse().unwrap();
    assert_eq!(written(mapped), BY.written, "as a socket of both kinds sees it");
    let six = String::from_utf8(written("2001:db8::1".parse().unwrap())).unwrap();
    assert!(six.starts_with("x-forwarded-for: 2001:db8::1\r\nforwarded: for=\"[2001:db8::1]\"\r\n"), "{six}");
}

fn parse(head: &str) -> Result<(Request, String), Flaw> {
    let mut to = Vec::new();
    match Request::parse(head.as_bytes(), BY, &mut to)? {
        Read::Whole(request) => Ok((request, String::from_utf8(to).unwrap())),
        Read::Partial => panic!("not whole: {head}"),
    }
}

fn get(fields: &str) -> String {
    format!("GET /a?b HTTP/1.1\r\nHost: example\r\n{fields}\r\n")
}

#[test]
fn a_head_is_written_anew_with_who_asked() {
    let (request, written) = parse(&get("Accept: */*\r\n")).unwrap();
    assert_eq!(
        written,
        "GET /a?b HTTP/1.1\r\nhost: example\r\nAccept: */*\r\nx-forwarded-for: 10.0.0.7\r\nforwarded: for=10.0.0.7\r\n\
         x-forwarded-proto: http\r\n\r\n"
    );
    assert_eq!((request.method, request.body, request.persists), (Method::Get, Length::None, true));
}

#[test]
fn what_a_client_says_of_itself_is_kept_only_where_it_is_trusted() {
    let head = get(
        "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nForwarded: for=1.2.3.4\r\nX_Forwarded_For: 6.6.6.6\r\n",
    );
    let (_, written) = parse(&head).unwrap();
    assert!(
        !written.contains("1.2.3.4")
            && !written.contains("https")
            && !written.contains("443")
            && !written.contains("6.6.6.6"),
        "{written}"
    );
    let mut to = Vec::new();
    Request::parse(head.as_bytes(), Forwarder { trusts: true, ..BY }, &mut to).unwrap();
    let written = String::from_utf8(to).unwrap();
    for line in [
        "x-forwarded-for: 1.2.3.4, 10.0.0.7\r\n",
        "forwarded: for=1.2.3.4, for=10.0.0.7\r\n",
        "X-Forwarded-Proto: https\r\n",
    ] {
        assert!(written.contains(line), "{line} is missing in {written}");
    }
    assert!(!written.contains("6.6.6.6"), "{written}");
}

#[test]
fn fields_of_the_clients_connection_end_here_and_no_other_can_be_made_to() {
    let (request, written) = parse(&get(
        "Connection: close, X-Mine, Authorization, X-Forwarded-For\r\nX-Mine: 1\r\nAuthorization: me\r\nKeep-Alive: 5\r\nTE: trailers, gzip\r\nProxy-Connection: x\r\n",
    ))
    .unwrap();
    assert!(!request.persists);
    assert!(written.contains("Authorization: me\r\n") && written.contains("te: trailers\r\n"), "{written}");
    for gone in ["X-Mine", "Keep-Alive", "Proxy", "close", "gzip"] {
        assert!(!written.contains(gone), "{gone} in {written}");
    }
}

#[test]
fn a_body_is_as_long_as_one_field_says() {
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    for (fields, body, line) in [
        ("Content-Length: 5\r\n", Length::Bytes(5), "content-length: 5\r\n"),
        ("Transfer-Encoding: chunked\r\n", Length::Chunked, "transfer-encoding: chunked\r\n"),
        ("", Length::None, "content-length: 0\r\n"),
        ("Content-Length: 0\r\n", Length::None, "content-length: 0\r\n"),
    ] {
        let (request, written) = parse(&post(fields)).unwrap();
        assert_eq!(request.body, body);
        assert_eq!(written.matches("ength: ").count() + written.matches("ncoding: ").count(), 1, "{written}");
        assert!(written.contains(line), "{written}");
    }
}

#[test]
fn a_target_is_a_path_or_a_url_whose_host_counts() {
    for (target, host, path) in
        [("/", "a", "/"), ("http://b:80/x?y", "b:80", "/x?y"), ("HTTP://b", "b", "/"), ("http://b?y", "b", "/?y")]
    {
        let (_, written) = parse(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
        assert!(written.starts_with(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n")), "{target}: {written}");
    }
    assert!(
        parse("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap()
            .1
            .starts_with("OPTIONS * HTTP/1.1\r\nhost: b\r\n")
    );
    assert!(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().1.starts_with("OPTIONS * HTTP/1.1\r\n"));
    for target in ["*", "x", "b:80", "ftp://b/", "http://", "http:///x", "/a#b", "//"] {
        let refused = parse(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(refused.is_err(), target != "//", "{target}: {refused:?}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for (head, flaw) in [
        ("GET / HTTP/1.1\r\n\r\n", Flaw::Host),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Flaw::Host),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Flaw::Host),
        ("GET / HTTP/1.1\r\nHost: me@a\r\n\r\n", Flaw::Host),
        ("GET http://b/ HTTP/1.1\r\nHost: a@b\r\n\r\n", Flaw::Host),
        ("GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", Flaw::Host),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", Flaw::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", Flaw::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Flaw::Syntax),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Flaw::Syntax),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", Flaw::Syntax),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n", Flaw::Syntax),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\x002\r\n\r\n", Flaw::Syntax),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Flaw::TwoLengths),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Flaw::TwoLengths),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", Flaw::ContentLength),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", Flaw::TransferEncoding),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Flaw::ChunkedInOld),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n", Flaw::Expect),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Method),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Method),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Flaw::Version),
        ("GET / HTTP/0.9\r\n\r\n", Flaw::Version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Flaw::Http2),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Syntax),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Syntax),
        ("\u{16}\u{3}\u{1}\u{2}\r\n\r\n", Flaw::Syntax),
    ] {
        assert_eq!(parse(head).unwrap_err(), flaw, "{head:?}");
    }
}

#[test]
fn another_protocol_is_passed_on_only_where_both_fields_ask_for_it() {
    let (request, written) = parse(&get("Connection: Upgrade\r\nUpgrade: websocket\r\n")).unwrap();
    assert!(request.upgrades && written.contains("connection: upgrade\r\nupgrade: websocket\r\n"), "{written}");
    for fields in
        ["Upgrade: websocket\r\n", "Connection: upgrade\r\n", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"]
    {
        let (request, written) = parse(&get(fields)).unwrap();
        assert!(!request.upgrades && !written.contains("pgrade"), "{fields}: {written}");
    }
}

#[test]
fn an_old_client_is_served_and_its_connection_ends_unless_it_asks() {
    let (request, written) = parse("GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(!request.persists && written.starts_with("GET / HTTP/1.1\r\nhost: \r\n"), "{written}");
    assert!(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap().0.persists);
}

#[test]
fn a_head_that_is_too_long_is_refused_before_all_of_it_came() {
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(MAX_HEAD));
    assert_eq!(Request::parse(long.as_bytes(), BY, &mut Vec::new()), Err(Flaw::HeadTooLarge));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(100));
    assert_eq!(Request::parse(many.as_bytes(), BY, &mut Vec::new()), Err(Flaw::HeadTooLarge));
}

proptest! {
    /// Whoever reads what we write reads the same message, and we read it so ourselves.
    #[test]
    fn what_is_written_is_read_alike(path in "/[a-z?=/]{0,9}", name in "[A-Za-z-]{1,9}", value in "[ -~]{0,20}", length in prop_oneof![Just(String::new()), "[0-9]{1,4}".prop_map(|digits| format!("Content-Length: {digits}\r\n")), Just("Transfer-Encoding: chunked\r\n".to_string())]) {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\n{length}\r\n");
        let Ok((request, written)) = parse(&head) else { return Ok(()) };
        let (again, twice) = parse(&written).unwrap();
        prop_assert_eq!((request.body, request.method, again.read), (again.body, again.method, written.len()));
        prop_assert_eq!(twice.matches("x-forwarded-for").count(), 1);
    }

    #[test]
    fn no_bytes_make_it_panic_or_write_more_than_one_head(bytes in proptest::collection::vec(any::<u8>(), 0..120), start in prop_oneof![Just("GET / HTTP/1.1\r\nHost: a\r\n"), Just("POST / HTTP/1.1\r\nHost: a\r\nContent-Length"), Just("")]) {
        let mut to = Vec::new();
        let head = [start.as_bytes(), &bytes, b"\r\n\r\n"].concat();
        if let Ok(Read::Whole(request)) = Request::parse(&head, BY, &mut to) {
            prop_assert!(request.read <= head.len());
            let ends: Vec<_> = to.windows(4).enumerate().filter(|(_, four)| *four == b"\r\n\r\n").map(|(at, _)| at).collect();
            prop_assert_eq!(ends, vec![to.len() - 4]);
        }
    }
}

#[test]
fn a_replica_says_for_whom_it_asks_and_nobody_else_can() {
    let head = get(
        "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-Proto: https\r\nworkercluster-hop: owner one\r\n",
    );
    let mut to = Vec::new();
    let peers = ["one".into()];
    let peer = Forwarder { peers: &peers, ..BY };
    let Ok(Read::Whole(request)) = Request::parse(head.as_bytes(), peer, &mut to) else { panic!("it is whole") };
    let written = String::from_utf8(to).unwrap();
    assert_eq!(request.hop, Some(Hop::Owner));
    assert!(
        written.contains("X-Forwarded-For: 1.2.3.4\r\n") && written.contains("https") && !written.contains("10.0.0.7"),
        "{written}"
    );
    assert!(!written.contains("hop"), "{written}");
    let (request, written) = parse(&head).unwrap();
    assert_eq!(request.hop, Some(Hop::Foreign), "it is seen, and refused: nobody else may say so");
    for forged in ["owner", "owner two", "owner  one", "owner one\r\nworkercluster-hop: owner one"] {
        let head = head.replace("owner one", forged);
        let Ok(Read::Whole(request)) = Request::parse(head.as_bytes(), peer, &mut Vec::new()) else { panic!("{head}") };
        assert_eq!(request.hop, Some(Hop::Foreign), "{forged}: also from its address");
    }
    assert!(!written.contains("hop") && !written.contains("1.2.3.4"), "{written}");
    let plain = head.replace("workercluster-hop: owner one\r\n", "");
    let mut to = Vec::new();
    Request::parse(plain.as_bytes(), peer, &mut to).unwrap();
    let written = String::from_utf8(to).unwrap();
    assert!(
        written.contains("10.0.0.7") && !written.contains("1.2.3.4"),
        "a program in its pod is a client: {written}"
    );
}

#[test]
fn what_may_be_answered_together_is_known_by_all_that_matters() {
    let paths = Paths::new(vec!["/a".into()]);
    let read = |head: &str| {
        let by = Forwarder { together: &paths, cookie: Some("to"), ..BY };
        let Ok(Read::Whole(request)) = Request::parse(head.as_bytes(), by, &mut Vec::new()) else { panic!("{head}") };
        request
    };
    let plain = read(&get("Cookie: to=x; a=b\r\n"));
    assert_eq!(plain.wish.as_deref(), Some("x"));
    assert_eq!(plain.together, read(&get("Cookie: to=x; a=b\r\nX-Forwarded-For: 9\r\nUser-Agent: other\r\n")).together);
    for other in [
        get(""),
        get("Cookie: to=y\r\n"),
        get("Cookie: to=x; a=b\r\n").replace("?b", "?c"),
        get("Cookie: to=x; a=b\r\n").replace("GET", "PUT"),
    ] {
        assert_ne!(plain.together, read(&other).together, "{other}");
    }
    assert_eq!(read(&get("").replace("/a?", "/b?")).together, None);
}
