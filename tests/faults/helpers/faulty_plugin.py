"""A plugin of another package that misbehaves in the hook and in the way that it is told to.

Methods, decoders, scorers and gates are told by their settings (`at`, `how`), the others by the variable
FAULT (`source:raise`). It also listens to every event of a run, and ends the process that tells it.
"""

PLUGIN = """
import os, sys, time
from pathlib import Path
from typing import Literal
from stepladder.core.decoder import Decoder, Scorer, ScorerSettings
from stepladder.core.gate import Gate, Verdict
from stepladder.core.hookspecs import hookimpl
from stepladder.core.method import Adapted, Method, Settings, Task, Trainable
from stepladder.core.metric import Metric
from stepladder.core.model.gradient import GradientMethod
from stepladder.core.source import Source, SourceRow
from stepladder.core.types import Answer, Example, Prediction, Sampling

STEPLADDER_API = 1
How = Literal["raise", "exit", "die", "print", "hang", "fill", "never"]


def misbehave(how):
    if how == "raise":
        raise ValueError("faulty on purpose")
    if how == "exit":
        sys.exit(3)
    if how == "die":
        os._exit(7)
    if how == "print":
        for _ in range(40):
            print("much ado " * 10_000)
    if how == "hang":
        time.sleep(3600)
    blocks = []
    while how == "fill":
        blocks.append(bytearray(b"x") * 2**26)


def misbehave_in(hook):
    where, _, how = os.environ.get("FAULT", "").partition(":")
    if where == hook:
        misbehave(how)


class Faulty(GradientMethod):
    name = "x_learns"
    rung = 1.2
    summary = "scales what the last norm gives"
    answers = ("label",)

    class Settings(GradientMethod.Settings):
        at: Literal["attach", "loss", "merge"] = "attach"
        how: How = "never"

    def attach(self, model):
        import torch

        self._reach("attach")
        norm = model.model.norm
        scale = torch.nn.Parameter(torch.zeros_like(norm.weight))
        handle = norm.register_forward_hook(lambda module, inputs, output: output * (1 + scale))

        def loss(base, rows):
            self._reach("loss")
            yield (scale - 0.01).square().sum(), 1

        def merge():
            self._reach("merge")
            with torch.no_grad():
                norm.weight.mul_(1 + scale)
            handle.remove()

        own = loss if self.settings.at == "loss" else None
        return Trainable(parameters={"scale": scale}, detach=handle.remove, merge=merge, loss=own)

    def _reach(self, hook):
        if self.settings.at == hook:
            misbehave(self.settings.how)


class Same(Adapted):
    def __init__(self, answer, method):
        self.answer, self.method = answer, method

    def predict(self, examples):
        self.method.reach("predict")
        return [Prediction(each.id, self.answer) for each in examples]

    def save(self, folder):
        self.method.reach("save")
        (folder / "same.json").write_text(f'"{self.answer}"')

    @classmethod
    def load(cls, folder, base, schema, method):
        method.reach("load")
        return cls((folder / "same.json").read_text().strip('"'), method)


class Answers(Method):
    name = "x_answers"
    rung = 0.05
    summary = "one answer for all"
    answers = ("label",)
    adapted = Same

    class Settings(Settings):
        at: Literal["fit", "predict", "save", "load"] = "fit"
        how: How = "never"

    def fit(self, base, data, context):
        self.reach("fit")
        return Same(data.labels[0], self)

    def reach(self, hook):
        if self.settings.at == hook:
            misbehave(self.settings.how)


class Reply(Task):
    name = "x_colour"
    summary = "name the colour"
    columns = {"input": "what is said", "label": "the colour"}
    answering = "generate"
    metrics = ("x_exact",)
    chooses_by = "x_exact"

    def example(self, row_id, fields):
        misbehave_in("example")
        return Example(row_id, fields["input"], fields["label"])

    def question(self, example, style, instruction, labels):
        misbehave_in("question")
        return example.input


class Lines(Source):
    name = "x_lines"
    suffixes = (".bars",)

    def rows(self, place):
        for number, line in enumerate(Path(place).read_text().splitlines(), start=1):
            misbehave_in("rows")
            text, colour = line.split("|")
            yield SourceRow(number, {"input": text, "label": colour}, raw=line)


class Exact(Metric):
    name = "x_exact"

    def value(self, records):
        misbehave_in("value")
        return sum(each.predicted == each.expected for each in records) / len(records)

    def row(self, record):
        misbehave_in("row")
        return float(record.predicted == record.expected)


class Told(Settings):
    how: How = "never"


class First(Decoder):
    name = "x_decoder"
    Settings = Told

    def decode(self, writer, examples):
        misbehave(self.settings.how)
        return [Answer(said.text, said.tokens) for (said,) in writer.write(examples, Sampling())]


class Length(Scorer):
    name = "x_scorer"

    class Settings(ScorerSettings):
        how: How = "never"

    def score(self, example, answer, ended):
        misbehave(self.settings.how)
        return float(len(answer))


class Barred(Gate):
    name = "x_gate"
    Settings = Told

    def judge(self, contest):
        misbehave(self.settings.how)
        return Verdict(True, "always")


@hookimpl
def stepladder_methods():
    return [Faulty, Answers]


@hookimpl
def stepladder_tasks():
    return [Reply]


@hookimpl
def stepladder_sources():
    return [Lines]


@hookimpl
def stepladder_metrics():
    return [Exact]


@hookimpl
def stepladder_decoders():
    return [First]


@hookimpl
def stepladder_scorers():
    return [Length]


@hookimpl
def stepladder_gates():
    return [Barred]


@hookimpl
def stepladder_run_started(run):
    os._exit(7)


@hookimpl
def stepladder_candidate_finished(run, candidate):
    os._exit(7)


@hookimpl
def stepladder_registered(run, registered):
    os._exit(7)


@hookimpl
def stepladder_promoted(promotion):
    os._exit(7)
"""
