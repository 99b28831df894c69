"""A plugin of another package that implements every hook, in a real run that uses what it gives."""

import json
import sys
from pathlib import Path

import pytest
from commands import environment_in, open_shell
from stepladder.core import hookspecs
from stepladder.core.discovery import discover

HOOKS = {name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec")}

PLUGIN = """
import json, os
from pathlib import Path
from stepladder.core.hookspecs import hookimpl
from stepladder.core.decoder import Decoder, Scorer
from stepladder.core.gate import Gate
from stepladder.core.method import Adapted, Method, Settings
from stepladder.core.metric import Metric
from stepladder.core.source import Source, SourceRow
from stepladder.core.gate import Verdict
from stepladder.core.method import Task, WordedSettings
from stepladder.core.types import Answer, Example, Prediction, Sampling, Written

STEPLADDER_API = 1


def note(hook, **told):
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps({"hook": hook, **told}) + "\\n")


class Same(Adapted):
    def __init__(self, answer, method):
        self.answer, self.method = answer, method

    def predict(self, examples):
        answers = self.method.decoder.decode(self, examples)
        return [Prediction(each.id, said.text) for each, said in zip(examples, answers, strict=True)]

    def write(self, examples, sampling, count=1):
        return [[Written(self.answer, 1)] for _ in examples]

    def save(self, folder):
        (folder / "same.json").write_text(json.dumps(self.answer))

    @classmethod
    def load(cls, folder, base, schema, method):
        return cls(json.loads((folder / "same.json").read_text()), method)


class Majority(Method):
    name = "x_majority"
    rung = 0.05
    summary = "the answer that most training rows have"
    answers = ("generate",)
    adapted = Same

    class Settings(WordedSettings):
        decoder: str | dict[str, dict] = "x_shout"

    def fit(self, base, data, context):
        answers = [row.expected for row in data.train.examples()]
        return Same(max(sorted(set(answers)), key=answers.count), self)


class Reply(Task):
    name = "x_reply"
    summary = "reply to a line"
    columns = {"line": "what is said", "reply": "what is replied"}
    answering = "generate"
    metrics = ("x_loud",)
    chooses_by = "x_loud"

    def example(self, row_id, fields):
        return Example(row_id, fields["line"], fields["reply"])

    def question(self, example, style, instruction, labels):
        return example.input


class Bars(Source):
    name = "x_bars"
    suffixes = (".bars",)

    def rows(self, place):
        for number, line in enumerate(Path(place).read_text().splitlines(), start=1):
            said, reply = line.split("|")
            yield SourceRow(number, {"line": said, "reply": reply}, raw=line)


class Loud(Metric):
    name = "x_loud"

    def row(self, record):
        return float(record.predicted == record.expected.upper())


class Shout(Decoder):
    name = "x_shout"

    def decode(self, writer, examples):
        return [Answer(said.text.upper(), said.tokens) for (said,) in writer.write(examples, Sampling())]


class Length(Scorer):
    name = "x_length"

    def score(self, example, answer, ended):
        return float(len(answer))


class Open(Gate):
    name = "x_open"

    def judge(self, contest):
        return Verdict(True, "always")


@hookimpl
def stepladder_methods():
    note("stepladder_methods")
    return [Majority]


@hookimpl
def stepladder_tasks():
    note("stepladder_tasks")
    return [Reply]


@hookimpl
def stepladder_sources():
    note("stepladder_sources")
    return [Bars]


@hookimpl
def stepladder_metrics():
    note("stepladder_metrics")
    return [Loud]


@hookimpl
def stepladder_decoders():
    note("stepladder_decoders")
    return [Shout]


@hookimpl
def stepladder_scorers():
    note("stepladder_scorers")
    return [Length]


@hookimpl
def stepladder_gates():
    note("stepladder_gates")
    return [Open]


@hookimpl
def stepladder_run_started(run):
    note("stepladder_run_started", run=run)


@hookimpl
def stepladder_candidate_finished(run, candidate):
    note("stepladder_candidate_finished", run=run, candidate=candidate)


@hookimpl
def stepladder_registered(run, registered):
    note("stepladder_registered", run=run, registered=registered)


@hookimpl
def stepladder_promoted(promotion):
    note("stepladder_promoted", promotion=promotion)


@hookimpl
def stepladder_rejected(promotion):
    note("stepladder_rejected", promotion=promotion)


@hookimpl
def stepladder_rolled_back(promotion):
    note("stepladder_rolled_back", promotion=promotion)
"""
CONFIG = """
name: replies
base: {base}
task: x_reply
data: {{train: train.bars, test: test.bars}}
methods: [x_majority]
register: replies
promote: {{gates: [{gate}]}}
"""
# A run is refused, then promoted; so is another, which is rolled back.
RUN, PROMOTE = ["run", "replies.yaml", "--engine", "inline"], ["promote", "replies", "--engine", "inline"]
COMMANDS = (
    (RUN, 0),
    ([*PROMOTE, "--config", "strict.yaml"], 3),
    (PROMOTE, 0),
    ([*RUN, "--set", "data.limit.test=7"], 0),
    (PROMOTE, 0),
    (["rollback", "replies"], 0),
)
GIVES = (
    *(("decoder", "x_shout"), ("gate", "x_open"), ("method", "x_majority"), ("metric", "x_loud")),
    *(("scorer", "x_length"), ("source", "x_bars"), ("task", "x_reply")),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory, base_folder):
    """A config and rows that only the plugin can read, and the plugin as its wheel would be installed."""
    folder = tmp_path_factory.mktemp("project")
    about = folder / "site" / "x-0.2.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 0.2\n")
    (about / "entry_points.txt").write_text("[stepladder.plugins]\nx = x_plugin\n")
    (folder / "site" / "x_plugin.py").write_text(PLUGIN)
    lines = [
        f"{owner} {thing} is {colour}|{'red' if colour == 'red' else 'blue'}"
        for owner in ("my", "your")
        for thing in ("car", "house", "door")
        for colour in ("red", "blue", "very blue", "dull blue")
    ]
    (folder / "train.bars").write_text("\n".join(lines[:16]))
    (folder / "test.bars").write_text("\n".join(lines[16:]))
    (folder / "replies.yaml").write_text(CONFIG.format(base=base_folder, gate="x_open"))
    (folder / "strict.yaml").write_text(CONFIG.format(base=base_folder, gate="{minimum: {value: 0.9}}"))
    return folder


@pytest.fixture(scope="module")
def told(project):
    """What the plugin wrote down in all the commands, each hook with its arguments."""
    own = {"PYTHONPATH": str(project / "site"), "NOTES": str(project / "notes")}
    with open_shell(project, environment_in(project / "home", **own)) as shell:
        for arguments, code in COMMANDS:
            ended = shell.stepladder(*arguments)
            assert ended.code == code, (arguments, ended)
    return [json.loads(line) for line in (project / "notes").read_text().splitlines()]


@pytest.fixture(scope="module")
def result(told, project):
    results = [json.loads(path.read_text()) for path in (project / "runs").glob("replies-*/result.json")]
    return next(each for each in results if each["registered"]["version"] == "1")


@pytest.fixture
def plugin(project, tmp_path, monkeypatch):
    """The plugin as discovery sees it."""
    monkeypatch.syspath_prepend(project / "site")
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    yield next(each for each in discover().plugins if each.name == "x")
    sys.modules.pop("x_plugin", None)


def test_the_plugin_implements_every_hook_there_is(plugin):
    assert (plugin.status, plugin.error) == ("ok", "")
    assert (plugin.distribution, plugin.version) == ("x", "0.2")
    assert set(plugin.hooks) == HOOKS
    assert plugin.gives == GIVES


def test_the_commands_fire_every_hook(told):
    assert {each["hook"] for each in told} == HOOKS


def test_events_are_told_once_with_what_the_result_says(told, result):
    run = {key: result[key] for key in ("name", "fingerprint", "run_dir")}
    events = [each for each in told if len(each) > 1]
    assert events[:3] == [
        {"hook": "stepladder_run_started", "run": run},
        {"hook": "stepladder_registered", "run": run, "registered": result["registered"]},
        {"hook": "stepladder_candidate_finished", "run": run, "candidate": result["candidates"][0]},
    ]
    assert result["registered"] == {"name": "replies", "version": "1", "alias": "challenger"}


def test_what_becomes_of_versions_is_told(told):
    events = [(each["hook"].removeprefix("stepladder_"), each.get("promotion")) for each in told]
    refused, *moved = [(hook, promotion) for hook, promotion in events if promotion]
    assert refused[0] == "rejected"
    assert "x_loud" in refused[1].pop("reason")
    assert refused[1] == {"name": "replies", "version": "1", "previous": None}
    assert moved == [
        ("promoted", {"name": "replies", "version": "1", "previous": None}),
        ("promoted", {"name": "replies", "version": "2", "previous": "1"}),
        ("rolled_back", {"name": "replies", "version": "1", "previous": "2"}),
    ]


def test_what_the_plugin_gives_does_the_work(result):
    (candidate,) = result["candidates"]
    assert result["data"]["test"]["read"] == 8, "its source"
    rows = [json.loads(line) for line in Path(candidate["predictions"]).read_text().splitlines()]
    assert {row["predicted"] for row in rows} == {"BLUE"}, "its method, by its decoder"
    assert sorted(row["expected"] for row in rows) == ["blue"] * 6 + ["red"] * 2, "its task"
    assert candidate["metrics"]["x_loud"]["value"] == 0.75, "its metric"
