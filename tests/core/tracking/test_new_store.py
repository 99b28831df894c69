"""A new SQLite store of MLflow is whole or not there, however its making ends."""

import os
import subprocess
import sys
import time

CONNECT = "from stepladder.core.tracking.client import connect; print(connect().search_experiments()[0].name)"


def start(home):
    left = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment = {**left, "STEPLADDER_HOME": str(home)}
    return subprocess.Popen(
        [sys.executable, "-c", CONNECT], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_one_that_is_killed_while_it_makes_the_tables_leaves_nothing_that_hurts(tmp_path):
    new = tmp_path / "mlflow.db.new"
    with start(tmp_path) as first:
        while not (new.exists() and new.stat().st_size > 50_000):
            assert first.poll() is None, "it is still at work"
            time.sleep(0.002)
        first.kill()
    assert not (tmp_path / "mlflow.db").exists()
    with start(tmp_path) as second:
        assert second.stdout.read() == "Default\n"
    assert (tmp_path / "mlflow.db").exists()
    assert not list(tmp_path.glob("mlflow.db.*"))
