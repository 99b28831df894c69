# ruff: noqa: T201
import os
import signal
import time


def run(spec, folder):
    print("about to end", flush=True)
    if spec["how"] == "exit":
        os._exit(7)
    if spec["how"] == "sleep":
        print(os.getpid(), flush=True)
        time.sleep(600)
    if spec["how"] == "busy":
        while True:
            pass
    os.kill(os.getpid(), signal.SIGKILL)
