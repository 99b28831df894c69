# ruff: noqa: T201
import subprocess
import sys


def run(spec, folder):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("grandchild", child.pid, flush=True)
    child.wait()
    return {}
