#!/usr/bin/env python3
"""The tail of fast requests while 2 % of all block a worker for 50 ms, simulated: 800 requests a second at random times for 4 workers of one request each.

In turns (each worker has its own queue, as behind Node's cluster), from one queue, and from one queue of whose slow requests at most three or two have
workers at a time. Medians of five seeds, in milliseconds. Half a minute.
"""

import heapq
import random
import statistics
from collections import deque

REQUESTS, RATE, SLOW_SHARE, SLOW, WORKERS = 200_000, 800, 0.02, 0.050, 4


def arrivals(seed):
    chance, now = random.Random(seed), 0.0
    for _ in range(REQUESTS):
        now += chance.expovariate(RATE)
        yield now, chance.random() < SLOW_SHARE


def in_turns(fast, seed):
    """(time in the system, whether slow) of each request."""
    free = [0.0] * WORKERS
    for index, (now, slow) in enumerate(arrivals(seed)):
        worker = index % WORKERS
        free[worker] = max(free[worker], now) + (SLOW if slow else fast)
        yield free[worker] - now, slow


def one_queue(fast, most_slow, seed):
    """The same; at most `most_slow` of the slow ones have a worker."""
    waiting, running = {False: deque(), True: deque()}, []  # those that run: when each ends, when it came, whether it is slow
    slow_running = 0

    def give(now):
        nonlocal slow_running
        while len(running) < WORKERS:
            may = [slow for slow in (False, True) if waiting[slow] and (not slow or slow_running < most_slow)]
            if not may:
                return
            slow = min(may, key=lambda one: waiting[one][0])
            slow_running += slow
            heapq.heappush(running, (now + (SLOW if slow else fast), waiting[slow].popleft(), slow))

    def ended_by(now):
        nonlocal slow_running
        while running and running[0][0] <= now:
            end, came, slow = heapq.heappop(running)
            slow_running -= slow
            give(end)
            yield end - came, slow

    for now, slow in arrivals(seed):
        yield from ended_by(now)
        waiting[slow].append(now)
        give(now)
    yield from ended_by(float("inf"))


def percentile(times, share):
    return sorted(times)[int(len(times) * share)] * 1000


def main():
    print(f"{'a fast request':<16}{'given out':<26}{'fast p99':>10}{'fast p99.9':>12}{'slow p99':>10}")
    for fast in (0.0006, 0.001):
        ways = {"in turns": lambda seed, fast=fast: in_turns(fast, seed)}
        for most in (4, 3, 2):
            name = "one queue" if most == WORKERS else f"one queue, {most} slow at most"
            ways[name] = lambda seed, fast=fast, most=most: one_queue(fast, most, seed)
        for name, way in ways.items():
            seeds = []
            for seed in range(5):
                seen = list(way(seed))
                fasts, slows = [time for time, slow in seen if not slow], [time for time, slow in seen if slow]
                seeds.append((percentile(fasts, 0.99), percentile(fasts, 0.999), percentile(slows, 0.99)))
            p99, p999, slow99 = (statistics.median(values) for values in zip(*seeds))
            print(f"{fast * 1000:<4g} ms{'':<9}{name:<26}{p99:>10.1f}{p999:>12.1f}{slow99:>10.1f}", flush=True)


if __name__ == "__main__":
    main()
