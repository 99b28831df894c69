# ruff: noqa: T201
import os
import time


def run(spec, folder):
    print("sees", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    time.sleep(600)
    return {}
