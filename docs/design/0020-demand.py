#!/usr/bin/env python3
"""Replicas from requests, simulated: what is counted as demand, under the three loads of tests/long/demand.rs.

One line for all replicas, of which each has four places and is ready 4 s after it was asked for; a look each second; windows of 60 and 6 s, down after 60 s.
`all`: all that are there count, each as a whole place. `N s`: as 0020-demand.md tells it, what waits to be worked off in N seconds.
Medians of five moments at which the looks begin: p50 and p95 of requests in seconds, pod-seconds, changes, seconds from the rise to the first write. Ten seconds.
"""

import math
import random
import statistics
from collections import deque

PLACES, TARGET, START, LENGTH = 4, 0.7, 4.0, 120
STABLE, PANIC, DOWN, STEP = 60, 6, 60, 0.01


def rate(shape, at):
    """Requests a second; times 0.4 s, as the long test has them."""
    if shape == "square":
        return 25 if at % 60 >= 30 else 5
    if shape == "crowd":
        return 35 if 30 <= at < 90 else 5
    return 15


def arrivals(shape, service, seed):
    chance, at, all_of_them = random.Random(seed), 0.0, []
    while at < LENGTH:
        all_of_them.append(at)
        at += (chance.expovariate(1) if shape == "poisson" else 1) / (rate(shape, at) * 0.4 / service)
    return deque(all_of_them)


def mean(seen, now, window):
    """The mean over a window of (until, covers, value), and how much of it is known."""
    total = known = 0.0
    for until, covers, value in seen:
        within = max(0.0, until - max(until - covers, now - window))
        total, known = total + value * within, known + within
    return (total / known if known else seen[-1][2]), known


class Rule:
    """The decision each second: of operator/src/decide/autoscale/requests.rs where `worked_off` is None, and as it was tried otherwise."""

    def __init__(self, worked_off, most):
        self.worked_off, self.most = worked_off, most
        self.seen, self.asked, self.surged, self.looked, self.was = [], [], -math.inf, None, (0, 0)

    def look(self, now, wanted, ready, there, arrived, waiting, busy, service, time):
        lasting, backlog = there, 0.0
        if self.worked_off and (waiting or self.was[0]):
            share = min(1, service / self.worked_off)
            lasting = min(max(arrived / time * service, (self.was[1] + busy) / 2 * share), there)
            backlog = min(waiting * share, there - lasting)
        self.was = (waiting, busy)
        self.seen.append((now, 0 if self.looked is None else now - self.looked, lasting))
        self.looked = now
        stable, back_to = mean(self.seen, now, STABLE)
        sudden, known = mean(self.seen, now, PANIC)

        def exact(requests):
            return requests / (PLACES * TARGET)

        def up(requests):
            return max(1, math.ceil(exact(requests) - 1e-3)) if requests else 0

        def suits(requests):
            return abs(exact(requests) / max(1, wanted) - 1) <= 0.1

        panic = exact(sudden + backlog) >= 2 * ready and known >= PANIC / 2
        self.surged = now if panic else self.surged
        backlog = backlog if panic else 0.0
        requests = sudden if panic else stable
        number = wanted if suits(requests + backlog) else up(requests + backlog)
        if self.worked_off:
            if panic or now - self.surged < PANIC:
                number = max(number, wanted)
            lasting = max(sudden, requests) if panic or now - self.surged < STABLE else requests
            lasting = wanted if suits(lasting) else up(lasting)
        else:
            lasting = 0
            if panic or now - self.surged < STABLE:
                number = max(number, wanted)
        least = wanted if back_to < STABLE / 2 else 0
        number = max(number, lasting, least) if known >= PANIC / 2 else wanted
        lasting = min(max(lasting, least), number) if self.worked_off else number
        number, lasting = (min(max(each, 1), self.most) for each in (number, lasting))
        self.asked = [(at, each) for at, each in [*self.asked, (now, lasting)] if now - at < DOWN]
        return number if number >= wanted else max(number, min(wanted, max(each for _, each in self.asked)))


def simulate(shape, service, worked_off, most, seed):
    coming, waiting, busy, rule = arrivals(shape, service, seed), deque(), [], Rule(worked_off, most)
    wanted, ready, starting, next_look, last = 1, 1, [], 0.1 + seed / 5, 0.0
    times, pod_seconds, changes, reaction, there, arrived, now = [], 0.0, 0, None, 0.0, 0, 0.0
    while now < LENGTH or waiting or busy:
        while coming and coming[0] <= now:
            waiting.append(coming.popleft())
            arrived += 1
        times += [end - begun for end, begun in busy if end <= now]
        busy = [each for each in busy if each[0] > now]
        ready += sum(at <= now for at in starting)
        starting = [at for at in starting if at > now]
        while waiting and len(busy) < ready * PLACES:
            busy.append((now + service, waiting.popleft()))
        there += (len(waiting) + len(busy)) * STEP
        pod_seconds += (ready + len(starting)) * STEP if now < LENGTH else 0
        if now >= next_look:
            time = now - last
            number = rule.look(now, wanted, ready, there / time, arrived, len(waiting), len(busy), service, time)
            there, arrived, last, next_look = 0.0, 0, now, next_look + 1
            if number != wanted:
                changes += 1
                reaction = now - 30 if reaction is None and number > wanted and now >= 30 else reaction
                starting += [now + START] * (number - wanted)
                for _ in range(wanted - number):
                    if starting:
                        starting.pop()
                    else:
                        ready -= 1
                wanted = number
        now = round(now + STEP, 4)
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.95)], pod_seconds, changes, reaction if reaction is not None else math.nan


def main():
    for service, most in ((0.4, 8), (0.4, 50), (2.0, 8), (20.0, 8)):
        for shape in ("square", "crowd", "poisson"):
            for worked_off in (None, 1, 2, 3, 6):
                runs = [simulate(shape, service, worked_off, most, seed) for seed in range(5)]
                row = "  ".join(f"{statistics.median(column):7.2f}" for column in zip(*runs))
                counted = f"{worked_off} s" if worked_off else "all"
                print(f"{service:4.1f} s each, at most {most:2}, {shape:7}, {counted:3}: {row}", flush=True)


if __name__ == "__main__":
    main()
