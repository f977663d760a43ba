"""The cases, in groups."""

from . import answers, bodies, connections, fields, lengths, lines

CASES = [*lengths.CASES, *bodies.CASES, *fields.CASES, *lines.CASES, *connections.CASES, *answers.CASES]
