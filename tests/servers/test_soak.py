"""Ten minutes of a flow that is due every minute, by the services of deployments/: nothing is lost or grows.

The minutes count from when a first run has trained, since until then libraries are read in. The rows change
now and then: the runs that find them changed train, the others have nothing to do. Between runs, when the
worker has no children, memory and open files of each service are counted.
"""

import contextlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

import psutil
import pytest
from stack import FINAL, TRAIN, awaited, write_rows

pytestmark = pytest.mark.faults

MINUTES = 10
MINUTES_OF_THE_SAME_ROWS = 3
FIRST_ROWS, NEW_ROWS = 20, 2
SERVICES = ("prefect", "mlflow", "worker")
SECONDS_BETWEEN_SAMPLES = 2
SAMPLES_AFTERWARDS = 10
MINUTE = timedelta(minutes=1)
# What the median of the last third may be above that of the first one.
MOST_GROWTH = 1.05
MEGABYTES_OF_GRACE = 10
HANDLES_OF_GRACE = 5
OVERLAP = "concurrency limit"


@dataclass(frozen=True)
class Sample:
    """What the processes of each service held between runs: memory in MB, and open files."""

    at: datetime
    memory: dict[str, float]
    handles: dict[str, int]


@dataclass(frozen=True)
class Soak:
    """What was due, the runs that were made of it, and the samples in between."""

    due: list[datetime]
    runs: list[dict]
    samples: list[Sample]

    def of(self, due):
        return [run for run in self.runs if moment(run["expected_start_time"]) == due]

    def grown(self, figure, service, grace):
        """Of that figure the medians of the first third and the last, where that is above what it may be."""
        third = (self.due[-1] + MINUTE - self.due[0]) / 3
        begun = [sample for sample in self.samples if sample.at < self.due[0] + third]
        ended = [sample for sample in self.samples if sample.at >= self.due[0] + 2 * third]
        first, last = (median(getattr(each, figure)[service] for each in part) for part in (begun, ended))
        return [(service, first, last)] if last > first * MOST_GROWTH + grace else []

    def table(self):
        heads = [f"{service} {unit}" for service in SERVICES for unit in ("MB", "files")]
        lines = [["minute", "run", *heads], ["---"] * (2 + len(heads))]
        lines += [self._line(str(number), due) for number, due in enumerate(self.due, start=1)]
        last = max(moment(run["end_time"]) for run in self.runs if run["end_time"])
        lines.append(["after them", "", *self._figures([each for each in self.samples if each.at > last])])
        return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def _line(self, number, due):
        ended = ", ".join(f"{run['state_name']}, {run['total_run_time']:.0f} s" for run in self.of(due))
        samples = [sample for sample in self.samples if due <= sample.at < due + MINUTE]
        return [number, ended, *self._figures(samples)]

    def _figures(self, samples):
        """Of the last one."""
        if not samples:
            return ["busy"] * 2 * len(SERVICES)
        return [f"{each[of]:.0f}" for of in SERVICES for each in (samples[-1].memory, samples[-1].handles)]


def moment(text):
    return datetime.fromisoformat(text)


def family(process):
    """It, and all that it has started."""
    return [process, *process.children(recursive=True)]


def sample(stack):
    """None while a run goes, whose flow is a child of the worker."""
    processes = {service: psutil.Process(stack.running[service].pid) for service in SERVICES}
    if processes["worker"].children():
        return None
    memory = {
        of: sum(each.memory_info().rss for each in family(process)) / 2**20
        for of, process in processes.items()
    }
    handles = {of: sum(each.num_fds() for each in family(process)) for of, process in processes.items()}
    return Sample(datetime.now(UTC), memory, handles)


def watch(stack, due):
    """Until all that were due have ended, and some samples more; the rows change on the way."""
    samples, later = [], []
    changes = list(enumerate(due[MINUTES_OF_THE_SAME_ROWS::MINUTES_OF_THE_SAME_ROWS], start=1))
    while len(later) < SAMPLES_AFTERWARDS:
        if changes and datetime.now(UTC) >= changes[0][1] - MINUTE / 2:  # before that run begins
            number, _ = changes.pop(0)
            write_rows(stack.folder / "rows" / "train.jsonl", TRAIN[: FIRST_ROWS + NEW_ROWS * number])
        with contextlib.suppress(psutil.NoSuchProcess):  # one that ended while it was looked at
            found = [each for each in [sample(stack)] if each]
            samples += found
            later += found if have_ended(stack, due) else []
        time.sleep(SECONDS_BETWEEN_SAMPLES)
    return samples


def have_ended(stack, due):
    over = datetime.now(UTC) >= due[-1] + MINUTE
    return over and all(run["state_type"] in FINAL for run in runs_of(stack, due))


def runs_of(stack, due):
    """With those that were due before the first that is counted."""
    wanted = {"expected_start_time": {"before_": due[-1].isoformat()}}
    return stack.ask("/flow_runs/filter", flow_runs=wanted, deployments={"name": {"any_": ["nightly"]}})


@pytest.fixture(scope="module")
def soak(stack):
    write_rows(stack.folder / "rows" / "train.jsonl", TRAIN[:FIRST_ROWS])
    stack.start("worker")
    stack.deploy("nightly")
    awaited(lambda: list(stack.folder.glob("runs/refreshes/*.json")), lambda: stack.log("worker"))
    first = datetime.now(UTC).replace(second=0, microsecond=0) + 2 * MINUTE
    due = [first + number * MINUTE for number in range(MINUTES)]
    samples = watch(stack, due)
    found = Soak(due, runs_of(stack, due), samples)
    (stack.folder / "soak.md").write_text(found.table())
    return found


def test_of_every_minute_one_run_was_done_or_cancelled_since_another_one_went(soak):
    assert [len(soak.of(due)) for due in soak.due] == [1] * MINUTES, soak.table()
    for run in soak.runs:
        if run["state_type"] == "CANCELLED":
            assert OVERLAP in run["state"]["message"], soak.table()
            assert went_then(run, soak.runs), soak.table()
        else:
            assert run["state_type"] == "COMPLETED", soak.table()


def went_then(cancelled, runs):
    """Whether another run, due before, had not ended when this one was cancelled."""
    at, due = moment(cancelled["state"]["timestamp"]), moment(cancelled["expected_start_time"])
    others = [run for run in runs if run["start_time"] and moment(run["expected_start_time"]) < due]
    return any(at < moment(run["end_time"]) for run in others)


def test_runs_that_found_new_rows_trained_and_the_others_said_that_there_were_none(soak, stack):
    done = [run for run in soak.runs if run["state_type"] == "COMPLETED"]
    unchanged = [run for run in done if run["state_name"] == "Unchanged"]
    assert unchanged, soak.table()
    assert all(run["state"]["message"].startswith("nothing new: ") for run in unchanged)
    results = list(stack.folder.glob("runs/colours-*/result.json"))
    assert 1 < len(done) - len(unchanged) <= len(results), soak.table()


def test_memory_is_flat(soak):
    grown = [each for of in SERVICES for each in soak.grown("memory", of, MEGABYTES_OF_GRACE)]
    assert grown == [], soak.table()


def test_open_files_are_as_many_as_before(soak):
    grown = [each for of in SERVICES for each in soak.grown("handles", of, HANDLES_OF_GRACE)]
    assert grown == [], soak.table()


def test_no_process_is_left_of_a_run(soak, stack):
    """A service's folder of Prefect is in the environment of all that descend from it, orphans included."""

    def left():
        known = {each for of in SERVICES for each in family(psutil.Process(stack.running[of].pid))}
        return [each for each in psutil.process_iter() if each not in known and is_of(stack, each)]

    awaited(lambda: not left(), lambda: str(left()), seconds=120)


def is_of(stack, process):
    with contextlib.suppress(psutil.Error):
        return process.environ().get("PREFECT_HOME", "").startswith(str(stack.folder))
    return False
