"""Rounds: how often, how long, and in which order the sides take turns."""

import os
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    rounds: int
    seconds: float

    @classmethod
    def read(cls):
        """From ROUNDS and SECONDS_EACH."""
        return cls(int(number("ROUNDS", 5, 1)), number("SECONDS_EACH", 5, 0.5))

    def turns(self, sides):
        """Every side once in each round, and each in every place over the rounds: what a side leaves behind (a warm processor, sockets in
        TIME_WAIT) meets another one each time, and every second round goes backwards."""
        sides = list(sides)
        for index in range(self.rounds):
            shift = (index // 2) % len(sides)
            order = sides[shift:] + sides[:shift]
            for side in order[::-1] if index % 2 else order:
                yield index, side


def number(name, usual, least):
    text = os.environ.get(name, str(usual))
    try:
        value = float(text)
    except ValueError:
        value = -1
    if value < least:
        sys.exit(f"{name}={text}: give a number from {least}, or leave it out for {usual}")
    return value


def progress(text):
    print(text, flush=True)
