"""Prints much more than anybody reads, or raises with a text as long."""

import sys


def run(spec, folder):
    if spec["how"] == "raise":
        raise ValueError("x" * 3_000_000)
    for number in range(spec["lines"]):
        sys.stdout.write(f"line {number}\n")
    sys.stdout.write("y" * spec["characters"])
    sys.stdout.write("\nthe end\n")
    return {}
