"""What the benchmarks share: sides, rounds, rows, load and the strict client."""
