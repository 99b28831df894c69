# ruff: noqa: T201
import os
import sys


def run(spec, folder):
    print("to standard output")
    print("to standard error", file=sys.stderr)
    os.write(1, b"from native code\n")
    print("10 %\r50 %\r100 %")
    print("no newline at the end", end="")
    (folder / "made.txt").write_text("made")
    modules = [name for name in ("wave", "prefect", "mlflow", "torch", "pytest") if name in sys.modules]
    return {
        "given": spec["value"],
        "modules": modules,
        "pid": os.getpid(),
        "variable": os.environ["VARIABLE"],
    }
