"""Fair settings: a few of each method on the same rows, judged on validation rows, as a Markdown table.

    STEPLADDER_TEST_DATA=... python benchmarks/sweep.py [--runs DIR]

The defaults are what did best here; `tables.py` runs them unchanged on other rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common import HERE
from tables import figure, run


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield "| candidate | validation accuracy | trained tokens |"
    yield "|---|---|---|"
    for each in result["candidates"]:
        accuracy = figure(each["validation_metrics"]["accuracy"])
        yield f"| `{each['id']}` | {accuracy} | {each['cost']['trained_tokens']:,} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    result = run(HERE / "sweep.yaml", "clinc150_20", parser.parse_args().runs)
    print("\n".join(lines(result)))


if __name__ == "__main__":
    main()
