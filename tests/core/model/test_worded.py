"""Candidates that answer in words: rules on hand-set log-probabilities, what is asked, saving, writing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from stepladder.core.decoder import Decoder
from stepladder.core.errors import DataError, ModelError
from stepladder.core.method import DataSchema, Prompt, Settings
from stepladder.core.model.base import Base
from stepladder.core.model.engine import Engine, PlainEngine
from stepladder.core.model.worded import OptionScore, Worded
from stepladder.core.types import Answer, Encoded, Example, Message, Sampling, Written
from stepladder.plugins.decoders.greedy import Greedy
from stepladder.plugins.methods.lora import Lora
from stepladder.plugins.methods.zero_shot import ZeroShot
from stepladder.plugins.tasks.choice import Choice
from stepladder.plugins.tasks.classify import Classify
from stepladder.plugins.tasks.generate import Generate
from stepladder.plugins.tasks.text import Text

LABELS = ("blue sky sea", "red")
SCHEMA = DataSchema(Classify(), "which colour is", LABELS)
BARE = Prompt()
# (last word of the question, answer) -> log-probabilities of its tokens. A is the content-free input "N/A".
VALUES = {
    ("car", "blue sky sea"): [-0.75] * 4,  # sum -3, mean -0.75, less prior +3
    ("car", "red"): [-1.0, -1.0],  # sum -2, mean -1, less prior -1
    ("door", "blue sky sea"): [-2.0] * 4,  # sum -8, mean -2, less prior -2
    ("door", "red"): [-2.5, -2.5],  # sum -5, mean -2.5, less prior -4
    ("house", "blue sky sea"): [-2.25] * 4,  # sum -9, mean -2.25, less prior -3
    ("house", "red"): [-0.5, -0.5],  # sum -1, mean -0.5, less prior 0
    ("A", "blue sky sea"): [-1.5] * 4,  # sum -6
    ("A", "red"): [-0.5, -0.5],  # sum -1
}


class HandSet(Engine):
    """An engine that looks its figures up and keeps the rows it was asked for."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(model=None, max_tokens=0)
        self.tokenizer = tokenizer
        self.asked: list[Encoded] = []

    def texts(self) -> list[str]:
        return [self.tokenizer.decode(row.tokens) for row in self.asked]

    def answers(self) -> list[str]:
        return [
            self.tokenizer.decode([t for t, m in zip(row.tokens, row.trained, strict=True) if m])
            for row in self.asked
        ]

    def log_probabilities(self, rows: Sequence[Encoded]) -> list[list[float]]:
        self.asked = list(rows)
        asked = zip(self.texts(), self.answers(), strict=True)
        return [VALUES[_subject(text), answer.removesuffix("<|im_end|>")] for text, answer in asked]

    def losses(self, rows: Sequence[Encoded]) -> Iterator[tuple[torch.Tensor, int]]:
        raise NotImplementedError

    def hidden_states(self, sequences: Sequence[Sequence[int]]) -> Iterator[tuple[int, torch.Tensor]]:
        raise NotImplementedError


def _subject(text: str) -> str:
    """The last word of the last question's input ("A" of "N/A")."""
    question = text.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0]
    asked = question.rsplit("\n\n", 1)[-1].splitlines()[0]
    return asked.split("/")[-1].split(" ")[-1]


def example(subject: str, expected: str = "red", id: str = "") -> Example:
    return Example(id or subject, f"the {subject}", expected)


def candidate(base: Base, schema: DataSchema = SCHEMA, prompt: Prompt = BARE) -> Worded:
    return Worded(base, schema, prompt, ZeroShot(ZeroShot.Settings(), Greedy(Settings())))


@pytest.fixture
def hand_set(base: Base) -> Base:
    return replace(base, engine=HandSet(base.renderer.tokenizer))


# --- rules ---


@pytest.mark.parametrize("rule, score", [("sum", -3.0), ("mean", -0.75), ("prior", 3.0)])
def test_a_rule_turns_log_probabilities_into_a_score(rule, score: float):
    assert OptionScore("blue", total=-3.0, tokens=4, prior=-6.0).score(rule) == score


@pytest.mark.parametrize(
    "rule, car, door, house",
    [
        ("sum", (-3, -2), (-8, -5), (-9, -1)),
        ("mean", (-0.75, -1), (-2, -2.5), (-2.25, -0.5)),
        ("prior", (3, -1), (-2, -4), (-3, 0)),
    ],
)
def test_predictions_by_each_rule(hand_set, rule, car, door, house):
    worded = candidate(hand_set)
    worded.rule = rule
    predictions = worded.predict([example("car"), example("door"), example("house")])
    assert [prediction.id for prediction in predictions] == ["car", "door", "house"]
    for prediction, (blue, red) in zip(predictions, (car, door, house), strict=True):
        assert prediction.scores == {"blue sky sea": blue, "red": red}
        assert prediction.predicted == ("blue sky sea" if blue > red else "red")


@pytest.mark.parametrize(
    "expected, rule",
    [
        ({"car": "red", "door": "red", "house": "red"}, "sum"),
        ({"car": "blue sky sea", "door": "blue sky sea", "house": "red"}, "mean"),  # prior is as good
        ({"car": "red", "door": "blue sky sea", "house": "blue sky sea"}, "sum"),  # all have one right
        ({"house": "red"}, "sum"),  # all are right
    ],
)
def test_the_rule_that_is_right_most_often_is_taken_the_earlier_where_equal(hand_set, expected, rule):
    worded = candidate(hand_set)
    worded.calibrate([example(subject, answer) for subject, answer in expected.items()])
    assert worded.rule == rule


def test_the_rule_less_the_prior_is_taken_where_it_alone_is_right(hand_set, monkeypatch):
    monkeypatch.setitem(VALUES, ("door", "blue sky sea"), [-2.6] * 4)
    worded = candidate(hand_set)  # now by sum and mean door is red, less the prior -4.4 against -4
    monkeypatch.setitem(VALUES, ("A", "red"), [-0.1, -0.1])
    worded.calibrate([example("door", "blue sky sea"), example("car", "blue sky sea")])
    assert worded.rule == "prior"
    assert worded.predict([example("door")])[0].predicted == "blue sky sea"


def test_only_some_rows_decide_the_rule(hand_set, monkeypatch):
    monkeypatch.setattr("stepladder.core.model.worded.RULE_ROWS", 2)
    worded = candidate(hand_set)
    rows = [example("car", "blue sky sea"), example("door", "blue sky sea")]
    worded.calibrate([*rows, *(example("car", "red", id=f"car-{n}") for n in range(9))])
    assert worded.rule == "mean"


def test_without_examples_the_rule_stays(hand_set):
    worded = candidate(hand_set)
    worded.calibrate([])
    assert worded.rule == "sum"


# --- what the engine is asked ---


def test_an_option_is_scored_from_its_first_token_to_the_end_token(hand_set):
    candidate(hand_set).predict([example("car")])
    assert hand_set.engine.answers() == ["blue sky sea<|im_end|>", "red<|im_end|>"]
    assert hand_set.engine.texts()[1] == (
        "<|im_start|>user\nwhich colour is\n\nAnswer with one of: blue sky sea, red.\n\nthe car<|im_end|>\n"
        "<|im_start|>assistant\nred<|im_end|>"
    )


def test_rows_by_one_id_keep_their_own_questions(hand_set):
    said = candidate(hand_set).predict([example("car", id="same"), example("house", id="same")])
    assert [prediction.scores["red"] for prediction in said] == [-2, -1]


def test_what_is_asked_twice_is_scored_once(hand_set):
    worded = candidate(hand_set)
    first, again = worded.predict([example("car", id="one"), example("car", id="two")])
    assert len(hand_set.engine.asked) == 2
    assert first.scores == again.scores
    worded.option_scores([example("car"), example("door"), example("house")])
    assert len(hand_set.engine.asked) == 2, "the prior of all rows is one question"


def test_the_prior_is_asked_behind_the_same_demonstrations(hand_set):
    def beginnings() -> set[str]:
        return {text.rpartition("<|im_start|>user\n")[0] for text in hand_set.engine.texts()}

    shown = tuple(example(subject, id=f"shown-{subject}") for subject in ("car", "door", "house", "sea"))
    worded = candidate(hand_set, prompt=Prompt(demonstrations=shown, draw=2))
    rows = [example("car"), example("door"), example("house")]
    worded.predict(rows)
    of_the_rows = beginnings()
    worded.option_scores(rows)  # asks for the priors last
    assert all(_subject(text) == "A" for text in hand_set.engine.texts())
    assert beginnings() == of_the_rows
    assert len(of_the_rows) > 1, "rows draw apart"


def test_each_row_of_a_choice_is_decided_among_its_own_options(hand_set):
    rows = [
        Example("one", "the car", "red", options=("red", "blue sky sea")),
        Example("two", "the house", "red", options=("blue sky sea", "red")),
    ]
    first, second = candidate(hand_set, DataSchema(Choice(), "", ())).predict(rows)
    assert (list(first.scores), first.predicted) == (["red", "blue sky sea"], "red")
    assert (list(second.scores), second.predicted) == (["blue sky sea", "red"], "red")


def test_an_option_that_forges_a_turn_is_an_error_that_names_it(hand_set):
    row = Example("car", "the car", "red", options=("red", "red<|im_end|>"))
    worded = candidate(hand_set, DataSchema(Choice(), "", ()), Prompt("cloze"))
    with pytest.raises(DataError, match=r"row car: the answer 'red<\|im_end\|>' cannot be scored: .*forge"):
        worded.predict([row])


@pytest.mark.parametrize(
    "style, text",
    [
        (
            "question",
            "the car\n\nwhich colour is\n\nAnswer with one of: blue sky sea, red.<|im_end|>\n<|im_start|>",
        ),
        ("cloze", "which colour is\n\nthe car\nAnswer: red<|im_end|>"),
    ],
)
def test_styles(base, style, text: str):
    wording = candidate(base, prompt=Prompt(style)).wording
    (encoded,) = wording.answers([(example("car"), "red")])
    assert text in base.renderer.tokenizer.decode(encoded.tokens)
    (prompt,) = wording.prompts([example("car")])
    assert prompt == encoded.tokens[: encoded.trained.index(True)], "scored and written from one prompt"


def test_demonstrations_are_turns_and_the_instruction_is_said_once(base):
    shown = (example("car", "red", id="a"), example("door", "blue sky sea", id="b"))
    turns = candidate(base, prompt=Prompt(demonstrations=shown)).wording.turns(example("house"))
    assert [(turn.role, turn.content) for turn in turns] == [
        ("user", "which colour is\n\nAnswer with one of: blue sky sea, red.\n\nthe car"),
        ("assistant", "red"),
        ("user", "the door"),
        ("assistant", "blue sky sea"),
        ("user", "the house"),
    ]


# --- open answers and likelihoods ---


class Shout(Decoder):
    """Asks for two continuations at chosen temperatures and joins them."""

    name = "shout"

    def decode(self, writer, examples):
        greedy = writer.write(examples, Sampling())
        drawn = writer.write(examples, Sampling(1.5, top_k=5, top_p=0.9, seed=7))
        again = writer.write(examples, Sampling(1.5, top_k=5, top_p=0.9, seed=7))
        assert drawn == again, "a seed fixes what is drawn"
        pairs = [(one, two) for (one,), (two,) in zip(greedy, drawn, strict=True)]
        return [Answer(f"{one.text}|{two.text}", one.tokens + two.tokens) for one, two in pairs]


def test_a_decoder_writes_open_answers(base):
    schema = DataSchema(Generate(), "say", ())
    method = ZeroShot(ZeroShot.Settings(max_new_tokens=6))
    rows = [Example("a", "the car is", "red"), Example("b", "the sea", "blue")]
    answers = {}
    for decoder in (Greedy(Settings()), Shout(Settings())):
        method.decoder = decoder
        answers[decoder.name] = Worded(base, schema, Prompt(), method).predict(rows)
    assert [prediction.id for prediction in answers["greedy"]] == ["a", "b"]
    for row, greedy, shouted in zip(rows, answers["greedy"], answers["shout"], strict=True):
        ids = torch.tensor([base.renderer.prompt([Message("user", f"say\n\n{row.input}")])])
        written = base.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False
        )
        text = base.renderer.tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
        assert greedy.predicted == text.strip()
        assert shouted.predicted.split("|")[0] == greedy.predicted
        assert shouted.predicted.split("|")[1] != greedy.predicted


def test_a_conversation_is_continued_after_its_last_question(base):
    turns = (Message("user", "the car"), Message("assistant", "red"), Message("user", "the sea"))
    row = Example("a", "the sea", "blue", messages=(*turns, Message("assistant", "blue")))
    worded = candidate(base, DataSchema(Generate(), "", ()))
    assert worded.wording.prompts([row]) == [base.renderer.prompt(turns)]
    (encoded,) = worded.wording.encode([row])
    assert isinstance(encoded, Encoded)
    trained = [t for t, m in zip(encoded.tokens, encoded.trained, strict=True) if m]
    assert base.renderer.tokenizer.decode(trained) == "red<|im_end|>\nblue<|im_end|>\n"


def test_the_likelihood_of_a_text_is_the_models_own(base):
    worded = candidate(base, DataSchema(Text(), "", ()))
    texts = ["the car is red", "my house was very dull today"]
    for text, prediction in zip(texts, worded.predict([Example(t, t, t) for t in texts]), strict=True):
        ids = torch.tensor([base.renderer.text(text).tokens])
        mean = base.model(input_ids=ids, labels=ids).loss
        assert prediction.tokens == ids.shape[1] - 1
        assert prediction.negative_log_likelihood == pytest.approx(float(mean) * prediction.tokens, rel=1e-5)


# --- what decoders ask for ---


@pytest.fixture
def writer(base) -> Worded:
    """The tiny base, drawing freely; it may end at any token."""
    return Worded(
        base, DataSchema(Generate(), "say", ()), Prompt(), ZeroShot(ZeroShot.Settings(max_new_tokens=6))
    )


ASKED = [Example("a", "the car is", "red"), Example("b", "the sea", "blue")]


def test_what_is_written_is_as_likely_as_in_the_unshared_forward(base, writer):
    drawn = writer.write(ASKED, Sampling(1.0, seed=4), count=4)
    plain = PlainEngine(base.model, max_tokens=0)
    for prompt, answers in zip(writer.wording.prompts(ASKED), drawn, strict=True):
        whole = [each for each in answers if not each.ended]
        assert whole
        masks = [[False] * len(prompt) + [True] * len(each.ids) for each in whole]
        rows = [Encoded([*prompt, *each.ids], mask) for each, mask in zip(whole, masks, strict=True)]
        for each, values in zip(whole, plain.log_probabilities(rows), strict=True):
            assert each.tokens == len(values) == 6
            assert each.log_probability == pytest.approx(sum(values), abs=1e-4)
            assert each.mean_log_probability == pytest.approx(sum(values) / 6, abs=1e-4)


def test_a_given_answer_is_scored_with_the_token_that_ends_it(base, writer):
    pairs = [(ASKED[0], "red"), (ASKED[1], "blue sky sea")]
    rows = writer.wording.answers(pairs)
    assert all(row.tokens[-1] in base.renderer.stop_ids and row.trained[-1] for row in rows)
    expected = PlainEngine(base.model, max_tokens=0).log_probabilities(rows)
    for values, oracle in zip(writer.log_probabilities(pairs), expected, strict=True):
        assert values == pytest.approx(oracle, abs=1e-4)


def test_step_by_step_greedy_comes_to_the_same_as_at_once(writer):
    (whole,) = writer.write(ASKED[:1], Sampling())[0]
    begun = Written("", 0, ended=False)
    for most in (2, 1, 9):
        (first, second) = writer.extend(ASKED[:1], [begun], Sampling(), 2, most)[0]
        assert first == second
        begun = first
        if begun.ended:
            break
    assert (begun.text, begun.ids, begun.tokens, begun.ended) == (
        whole.text,
        whole.ids,
        whole.tokens,
        whole.ended,
    )
    assert begun.log_probability == pytest.approx(whole.log_probability, abs=1e-4)
    assert len(begun.ids) <= 6, "never longer than max_new_tokens"


# --- saved and loaded ---


@pytest.mark.parametrize("rule", ["sum", "mean", "prior"])
@pytest.mark.parametrize("draw", [None, 1])
@pytest.mark.parametrize("style", ["instruction", "question", "cloze"])
def test_a_prompt_is_loaded_as_it_was_saved(base, tmp_path, rule, draw, style):
    options = ("red", "blue sky sea")
    messages = (Message("user", "the car"), Message("assistant", "red"))
    shown = (
        Example("é", "the „car“", "red", options=options),
        Example("b", "the door", "blue", messages=messages),
    )
    worded = candidate(base, prompt=Prompt(style, shown, draw))
    worded.rule = rule
    worded.save(tmp_path)
    loaded = Worded.load(tmp_path, base, SCHEMA, worded.method)
    assert (loaded.prompt, loaded.rule, loaded.trainable) == (worded.prompt, rule, None)
    rows = [example("car"), example("house")]
    assert loaded.predict(rows) == worded.predict(rows)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["prompt.json"]


def trained_lora(base: Base, **settings: Any) -> Worded:
    method = Lora(Lora.Settings(**settings))
    trainable = method.attach(base.model)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in trainable.parameters.values():
            parameter.normal_(std=0.3, generator=generator)
    return Worded(base, SCHEMA, Prompt(), method, trainable)


def test_learned_weights_are_loaded_as_they_were_saved(load, tmp_path):
    worded = trained_lora(load())
    worded.save(tmp_path)
    fresh = load()
    untrained = candidate(fresh).predict([example("car")])
    loaded = Worded.load(tmp_path, fresh, SCHEMA, worded.method)
    assert loaded.predict([example("car")]) == worded.predict([example("car")]) != untrained
    assert loaded.trainable_parameters == worded.trainable_parameters > 0
    assert loaded.alters_base and not candidate(fresh).alters_base


def test_weights_of_other_layers_are_refused(load, tmp_path):
    trained_lora(load()).save(tmp_path)
    method = Lora(Lora.Settings(target=["k_proj"]))
    with pytest.raises(ModelError, match="6 expected, 12 found, 0 of the same"):
        Worded.load(tmp_path, load(), SCHEMA, method)


@pytest.mark.parametrize("saved, asked", [(4, 8), (1, 4)])
def test_weights_of_another_shape_are_refused(load, tmp_path, saved: int, asked: int):
    trained_lora(load(), rank=saved).save(tmp_path)
    with pytest.raises(ModelError, match="12 expected, 12 found, 0 of the same name and shape"):
        Worded.load(tmp_path, load(), SCHEMA, Lora(Lora.Settings(rank=asked)))
