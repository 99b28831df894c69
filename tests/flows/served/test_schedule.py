"""What can be wrong with a schedule, told before anything is served; and its next times."""

import os
import re
import subprocess
import sys

import pytest
from stepladder.core.errors import InputError
from stepladder.flows.scheduling import Times, require_times

ZONE = "Europe/Berlin"


@pytest.mark.parametrize(
    ("cron", "zone", "said"),
    [
        ("0 3 * * *", None, "--timezone: expected the one in which '0 3 * * *' is meant"),
        ("0 3 * * *", "Europe/Berlyn", "no time zone 'Europe/Berlyn' (did you mean 'Europe/Berlin'?)"),
        ("0 3 * *", ZONE, "expected 5 fields (minute, hour, day of the month, month, day of the week)"),
        ("@daily", ZONE, "found 1"),
        ("0 24 * * *", ZONE, "hour: expected 0 to 23, a list (1,2), a range (1-5) or */N; found '24'"),
        ("0 3 * * funday", ZONE, "day of the week: expected 0 to 7, or sun to sat"),
        ("*/0 3 * * *", ZONE, "minute: expected 0 to 59"),
        ("0 3 * jaN-dek *", ZONE, "month: expected 1 to 12, or jan to dec"),
    ],
)
def test_what_is_wrong_is_named(cron, zone, said):
    with pytest.raises(InputError, match=re.escape(said)):
        require_times(cron, zone)


def test_a_day_that_never_comes_is_told():
    with pytest.raises(InputError, match=r"--cron '0 0 30 2 \*': no day is such a day"):
        require_times("0 0 30 2 *", ZONE).next(3)


def test_the_next_times_are_those_of_the_time_zone():
    first, second, third = Times("30 3 * * 1", ZONE).next(3)
    assert {each.split()[0] for each in (first, second, third)} == {"Mon"}
    assert {each.split()[2] for each in (first, second, third)} == {"03:30"}
    assert {each.split()[3] for each in (first, second, third)} <= {"CET", "CEST"}


@pytest.mark.parametrize(
    ("server", "code", "said"),
    [
        ({}, 2, "Start one with `prefect server start --host 127.0.0.1`"),
        ({"PREFECT_API_URL": "http://127.0.0.1:9/api"}, 1, "http://127.0.0.1:9/api does not answer"),
    ],
)
def test_a_server_that_is_not_there(tmp_path, server, code, said):
    foreign = ("MLFLOW_", "PREFECT_", "STEPLADDER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    asked = ["schedule", "absent.yaml", "--cron", "0 3 * * *", "--timezone", ZONE]
    done = subprocess.run(
        [sys.executable, "-c", "from stepladder.flows.cli import main; main()", *asked],
        env={**kept, "HOME": str(tmp_path), "STEPLADDER_HOME": str(tmp_path / "home"), **server},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr
