"""What is said of a case: whether ours did what the case wants, and how it stands beside the peers."""

import re

GOOD_NEXT = {"own"}


def failures(case, seen):
    """Why a case fails; nothing where it does not."""
    ours, peers = seen["ours"], [one for name, one in seen.items() if name != "ours"]
    said = [*expected(case, ours), *harm(case, ours)]
    if peers and all(refuses(peer) for peer in peers) and passes_more(ours, peers):
        said.append("a: passes on what both peers refuse")
    return said


def expected(case, ours):
    wanted = case.status.split()
    if len(wanted) != len(ours.statuses) or not all(fits(one, status) for one, status in zip(wanted, ours.statuses)):
        yield f"b: the client got {' '.join(ours.statuses)} instead of {case.status}"
    numbers = case.requests if isinstance(case.requests, tuple) else (case.requests,)
    if ours.requests not in numbers:
        yield f"b: {ours.requests} requests reached the backend instead of {' or '.join(map(str, numbers))}"
    if case.opens is not None and case.opens != (ours.state == "open"):
        yield f"b: the client's connection is {ours.state} instead of {'open' if case.opens else 'closed'}"
    if ours.readings:
        yield f"b: readers see different numbers of requests in what was forwarded: {ours.readings}"
    for what, bytes_, words, is_wanted in (
        ("the backend", ours.forwarded, case.has, True),
        ("the backend", ours.forwarded, case.hasnt, False),
        ("the client", ours.got, case.gets, True),
        ("the client", ours.got, case.getsnt, False),
    ):
        for word in words:
            there = any(one.lower() in bytes_.lower() for one in word.split(b"|"))
            if there != is_wanted:
                yield f"b: {word!r} {'did not reach' if is_wanted else 'reached'} {what}"


def harm(case, ours):
    if "foreign" in ours.next:
        yield "c: the next clients got " + ", ".join(ours.next)
    elif not set(ours.next) <= GOOD_NEXT:
        yield "b: the next clients got " + ", ".join(ours.next)
    if ours.state == "odd":
        yield "c: the next request on the client's connection got something else"
    if ours.stray and not case.stray:
        yield "c: the client got bytes that are no answer"


def fits(wanted, status):
    """`4xx` fits 400, and `|` parts what is as good."""
    return any(re.fullmatch(one.replace("x", "[0-9]"), status) for one in wanted.split("|"))


def refuses(peer):
    """It gave no answer of the backend's, but one of its own, or the end of the connection. One that waits has not decided."""
    return "waits" not in peer.statuses and peer.own == 0 and peer.state not in ("tunnel", "gone")


def passes_more(ours, peers):
    """What is sent again is no other request; and what waits for more has passed on what it has."""
    requests = len(set(ours.lines)) > max(len(set(peer.lines)) for peer in peers)
    waits = "waits" in ours.statuses and ours.partial and not any(peer.partial for peer in peers)
    return requests or waits or ours.own > max(peer.own for peer in peers)


def outcome(seen):
    """What is compared: each answer's class, and the number of requests that the backend sees."""
    return tuple(status[0] + "xx" + status[3:] if status[0].isdigit() else status for status in seen.statuses), seen.requests


def agreeing(seen):
    """The peers that do the same."""
    return [name for name, one in seen.items() if name != "ours" and outcome(one) == outcome(seen["ours"])]
