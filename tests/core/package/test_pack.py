import json

import numpy as np
import pytest


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", ["classify", "choice", "generate", "drawn", "chat"])
def test_x(made, name):
    from stepladder.core.package.verify import verify_package

    folder = made(name)
    print(verify_package(folder))
    for f in sorted(folder.rglob("*")):
        if f.is_file():
            print(f.relative_to(folder), f.stat().st_size)
    print((folder / "served.json").read_text())
    print((folder / "lineage.json").read_text()[-1500:])
    print(lines(folder / "recorded.jsonl")[0])
