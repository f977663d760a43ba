"""The table, docs/wire.md, and the same as JSON."""

import json

from . import judge

HEAD = """\
# What passes the primary byte by byte
Made by `tests/wire/run` (`make wire`); not written by hand. {count} cases, each sent byte by byte through `primary --balancing queue`, {peers}, in turn before the same backend, which
writes down each byte that it gets and answers by a script. Two more clients ask after each case, and must get their own answers and nothing else.

| | cases |
|---|---|
| ours does as both peers do | {both} |
| as one of them | {one} |
| as neither | {none} |
| ours fails | {failed} |

A case fails where ours passes on what both peers refuse, does not do what the case wants, forwards what two programs would read in two ways, or lets bytes of one answer reach another client.
Compared are the answers' classes and the number of whole requests that reach the backend. A peer is no measure: where the RFC and a peer differ, the RFC is wanted.

A cell: the client's answers (`none`: closed without one; `waits`: neither; `cut`: closed before its end), the number of whole requests at the backend (`+`: and a part of one), and what
becomes of the client's connection (`owed`: it is open for the rest of a body). **two readings**: programs that read a little otherwise see other requests in what was forwarded. **foreign**: a later client got bytes that were not for
it; **harmed**: it got an error. **stray**: this client got bytes beside its answers.
"""


def cell(seen):
    marks = []
    if seen.readings:
        marks.append("**two readings**")
    if "foreign" in seen.next or seen.state == "odd":
        marks.append("**foreign**")
    elif set(seen.next) - judge.GOOD_NEXT:
        marks.append("**harmed**")
    if seen.stray:
        marks.append("**stray**")
    state = {"gone": "", "waits": "" if seen.statuses == ["waits"] else "waits"}.get(seen.state, seen.state)
    statuses = " ".join(f"{status}" for status in seen.statuses)
    if len(seen.statuses) > 4 and len(set(seen.statuses)) == 1:
        statuses = f"{len(seen.statuses)} × {seen.statuses[0]}"
    return ", ".join(part for part in (statuses.replace("cut", " cut"), f"{seen.requests}{'+' if seen.partial else ''}", state, *marks) if part)


def markdown(results, peers):
    counts = {"both": 0, "one": 0, "none": 0}
    for _, seen, _ in results:
        counts[{2: "both", 1: "one", 0: "none"}[len(judge.agreeing(seen))]] += 1
    failed = sum(bool(said) for _, _, said in results)
    text = [HEAD.format(count=len(results), peers=" and ".join(peers), failed=failed, **counts)]
    group = None
    for case, seen, said in results:
        if case.group != group:
            group = case.group
            text.append(f"\n## {group}\n| case | wanted | ours | haproxy | nginx | why ours does otherwise |\n|---|---|---|---|---|---|\n")
        why = case.why if len(judge.agreeing(seen)) < 2 else ""
        why = "; ".join([f"**fails** ({one})" for one in said] + ([why] if why else []))
        cells = [f"`{case.name}`", case.wanted(), *[cell(seen[name]) for name in ("ours", "haproxy", "nginx")], why]
        text.append("| " + " | ".join(one.replace("|", "\\|") for one in cells) + " |\n")
    return "".join(text)


def as_json(results, versions):
    cases = []
    for case, seen, said in results:
        sends = [part.decode("latin-1") if isinstance(part, bytes) else f"({part.what})" for part in case.sends]
        sent = [part if len(part) < 2000 else f"{part[:200]}… ({len(part)} bytes)" for part in sends]
        told = {name: one.told() for name, one in seen.items()}
        cases.append({"group": case.group, "name": case.name, "sends": sent, "status": case.status, "requests": case.requests, "why": case.why, "fails": said, **told})
    return json.dumps({"versions": versions, "cases": cases}, indent=1) + "\n"
