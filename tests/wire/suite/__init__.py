"""The wire suite: byte-exact requests through the primary and two peers, and what reached a recording backend."""
