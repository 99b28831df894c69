"""The curve of a tiny base: nested runs, read together, never done twice; and what is asked for wrongly."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from stepladder.core.config import load_config
from stepladder.core.environment import bootstrap
from stepladder.core.errors import ConfigError, InputError
from stepladder.core.steps import curve_points
from stepladder.core.training.children import Children
from stepladder.flows.curve import Drawing, draw_curve, parse_rows
from stepladder.flows.planning import Request

CONFIG = """
name: colours
base: {base}
task: classify
data:
  train: train.jsonl
  test: test.jsonl
  validation: 0.5
  columns: {{input: text, label: colour}}
  limit: {{validation: 8, test: 6}}
methods: [zero_shot, linear_probe]
register: colours
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory, base_folder) -> Path:
    folder = tmp_path_factory.mktemp("project")
    things = [f"{whose} {thing}" for whose in ("my", "your") for thing in ("car", "house", "door", "paint")]
    rows = [
        {"text": f"{thing} {verb} quite {colour}", "colour": colour}
        for thing in things
        for verb in ("is", "was")
        for colour in ("red", "blue", "green")
    ]
    for name, part in (("train", rows[:42]), ("test", rows[42:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (folder / "colours.yaml").write_text(CONFIG.format(base=base_folder))
    return folder


class Noting:
    """A watcher that keeps how each node ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, str]] = []

    def started(self, node) -> None: ...

    def line(self, node, text) -> None: ...

    def ended(self, node, outcome) -> None:
        self.ends.append((node.id, outcome.status))


def draw(project: Path, home: Path):
    """curve.json, and how the nodes of all its runs ended."""
    noting, children = Noting(), Children()
    request = Request(project / "colours.yaml", (), project / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEPLADDER_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("OMP_NUM_THREADS", "1")
        bootstrap()
        try:
            return draw_curve(request, [0, 12], Drawing("inline", children, noting, print)), noting.ends
        finally:
            children.stop()
            os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="module")
def drawn(project, tmp_path_factory):
    return draw(project, tmp_path_factory.mktemp("home"))


def test_at_no_rows_only_what_needs_none_is_run(drawn, project):
    curve, _ = drawn
    assert [point["rows"] for point in curve["points"]] == [0, 12]
    assert [list(point["candidates"]) for point in curve["points"]] == [
        ["zero_shot"],
        ["zero_shot", "linear_probe"],
    ]
    assert curve["left_out"] == ["linear_probe"]
    for point in curve["points"]:
        result = json.loads(Path(point["run_dir"], "result.json").read_text())
        assert result["data"]["train"]["kept"] == point["rows"]
        assert result["data"]["validation"]["kept"] == curve["validation_rows"] == 8
        assert result["registered"] is None, "a point of a curve is no model to serve"
        assert point["choice"]["id"] == result["choice"]["id"]


def test_every_point_is_judged_by_the_same_rows_and_labels(drawn):
    curve, _ = drawn
    lines = [
        Path(point["run_dir"], "candidates", "zero_shot", "predictions.jsonl").read_text().splitlines()
        for point in curve["points"]
    ]
    without, with_rows = ([json.loads(line) for line in each] for each in lines)
    assert [row["id"] for row in without] == [row["id"] for row in with_rows]
    assert {tuple(row["scores"]) for row in [*without, *with_rows]} == {("blue", "green", "red")}
    first, second = (point["candidates"]["zero_shot"] for point in curve["points"])
    assert first["validation"] == second["validation"]
    assert first["test"] == second["test"]


def test_the_folder_holds_the_curve_its_page_and_its_picture(drawn, project):
    curve, _ = drawn
    folder = Path(curve["folder"])
    assert folder.parent == project / "runs"
    assert folder.name.startswith("colours-curve-")
    assert json.loads((folder / "curve.json").read_text()) == curve
    assert (folder / "curve.md").read_text().startswith("# colours: rungs by training rows")
    assert (folder / "curve.svg").read_text().rstrip().endswith("</svg>")


def test_a_second_curve_does_nothing_twice(drawn, project, tmp_path):
    curve, before = drawn
    again, ends = draw(project, tmp_path)
    assert again == curve
    assert [node for node, _ in ends] == [node for node, _ in before]
    assert {node for node, status in ends if status != "reused"} == {"record", "report"}


# --- what is asked for wrongly ---


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ten,20", "found 'ten'"),
        ("1.5,3", "found '1.5'"),
        ("-1,3", "found '-1'"),
        ("10,,20", "found ''"),
        ("10,10", "10 follows 10: expected increasing"),
        ("50,10", "10 follows 50: expected increasing"),
        ("50", "at least two numbers"),
    ],
)
def test_wrong_rows_are_refused(text, said):
    with pytest.raises(InputError, match=f"curve: --rows.*{said}"):
        parse_rows(text)


def test_rows_may_have_spaces():
    assert parse_rows("0, 10, 400") == [0, 10, 400]


def ask(project: Path, folder: Path, rows: list[int], *overrides: str):
    spec = {"config": str(project / "colours.yaml"), "overrides": list(overrides), "rows": rows}
    return curve_points.run(spec, folder)


def test_more_rows_than_there_are_say_how_many_there_are(project, tmp_path):
    with pytest.raises(InputError, match=r"1,000 training rows asked for, and .*train.jsonl has 2\d that"):
        ask(project, tmp_path, [0, 1000])


def test_no_rows_with_methods_that_all_need_some_are_refused(project, tmp_path):
    with pytest.raises(InputError, match=r"at 0 rows there is nothing to run: linear_probe need.*zero_shot"):
        ask(project, tmp_path, [0, 4], "methods=[linear_probe]")


def test_validation_rows_are_those_of_the_config_however_few_are_trained_on(project, tmp_path):
    asked = ask(project, tmp_path, [2, 4], "data.limit={train: 4}", "data.validation=0.5")
    assert asked["validation"] == 4, "a share of one half beside four training rows"
    assert all("data.limit.validation=4" in point["overrides"] for point in asked["points"])
    assert asked["left_out"] == []


def test_a_method_that_needs_rows_is_refused_in_a_run_without(project, registry):
    with pytest.raises(
        ConfigError, match=r"methods.linear_probe: needs training rows, and data.limit.train is 0"
    ):
        load_config(project / "colours.yaml", ["data.limit.train=0"], registry)
