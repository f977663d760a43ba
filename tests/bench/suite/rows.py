"""Rows: one comparison each, in the form that all benchmarks of this repository write, printed as a table and kept as JSON.

`ratio` always means "times better than the peer". Where it is null the target is for `ours` itself, as in "at most 10 MiB"; where the target is
null the row only informs. It is the median of the rounds' own ratios. `spread` is how far the rounds' own ratios (or ours, without a ratio) lie apart, the largest less the smallest.
"""

import json
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "target/bench"


def commit():
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def against(test, unit, better, ours, peer, peers, target=None):
    """Ours against a peer, `ours` and `peers` with one value for each round. The ratio is the median of the rounds' own: a machine that others slow
    down for a minute slows down both sides of a round, and not all rounds of one side."""
    ours_value, peer_value = statistics.median(ours), statistics.median(peers)
    each = [times_better(better, one, other) for one, other in zip(ours, peers)]
    known = [one for one in each if one is not None]
    ratio = statistics.median(known) if known else None
    spread = max(known) - min(known) if known else 0.0
    met = None if target is None else ratio is not None and ratio >= target
    return row(test, unit, better, ours_value, peer, peer_value, ratio, len(ours), spread, target, met)


def alone(test, unit, better, ours, target=None, peer=None, peers=None):
    """Ours against a fixed bound; a peer's value beside it only informs."""
    value = statistics.median(ours)
    met = None if target is None else (value <= target if better == "lower" else value >= target)
    peer_value = statistics.median(peers) if peers else None
    return row(test, unit, better, value, peer, peer_value, None, len(ours), max(ours) - min(ours), target, met)


def count(test, ours, target=None, peer=None, peers=None):
    """Something that must not happen, counted: of all rounds together, since a median would hide the one round in which it does."""
    total, peer_total = sum(ours), sum(peers) if peers else None
    met = None if target is None else total <= target
    return row(test, "of all rounds", "lower", total, peer, peer_total, None, len(ours), max(ours) - min(ours), target, met)


def times_better(better, ours, peer):
    if better == "higher":
        ours, peer = peer, ours
    return peer / ours if ours else None


def row(test, unit, better, ours, peer, peer_value, ratio, rounds, spread, target, met):
    return {
        "test": test, "unit": unit, "better": better, "ours": short(ours), "peer": peer, "peer_value": short(peer_value),
        "ratio": short(ratio), "rounds": rounds, "spread": short(spread), "target": target, "met": met, "commit": commit(),
    }  # fmt: skip


def short(number):
    """Three digits after the point: CPU seconds of an idle process need them."""
    return None if number is None else round(number, 3)


def save(name, rows):
    """Writes target/bench/shared-NAME.json and prints the table. Returns how many targets were missed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"shared-{name}.json"
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(f"\n{table(rows)}\n{path.relative_to(ROOT)}: {len(rows)} rows", flush=True)
    missed = [one["test"] for one in rows if one["met"] is False]
    for test in missed:
        print(f"missed: {test}", flush=True)
    return len(missed)


def table(rows):
    head = ("test", "ours", "peer", "its", "unit", "ratio", "spread", "target", "met")
    cells = [head]
    for one in rows:
        met = {True: "yes", False: "NO", None: "-"}[one["met"]]
        keys = ("test", "ours", "peer", "peer_value", "unit", "ratio", "spread", "target")
        cells.append(tuple(cell(one[key]) for key in keys) + (met,))
    widths = [max(len(line[at]) for line in cells) for at in range(len(head))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in cells]
    return "\n".join(lines)


def cell(value):
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1000 else (f"{value:.0f}" if isinstance(value, float) else str(value))
