"""A new SQLite store of MLflow is whole or not there, however its making ends."""

import subprocess
import sys
import time

from commands import environment_in

CONNECT = "from stepladder.core.tracking.client import connect; print(connect().search_experiments()[0].name)"


def start(home, **more):
    return subprocess.Popen(
        [sys.executable, "-c", CONNECT], env=environment_in(home, **more), stdout=subprocess.PIPE, text=True
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


def test_one_whose_address_has_options_is_made_where_it_says(tmp_path):
    with start(tmp_path, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/own.db?timeout=20") as process:
        assert process.stdout.read() == "Default\n"
    assert sorted(path.name for path in tmp_path.glob("*.db*")) == ["own.db"]
