"""Prompt search: which rows are searched on and shown, what is proposed, and that the best prompt is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError
from stepladder.core.data.demonstrations import spread
from stepladder.core.evaluation.score import records
from stepladder.core.method import DataSchema, Prompt
from stepladder.core.metric import Metric
from stepladder.core.training.checkpoint import Keeping
from stepladder.core.training.context import FitContext
from stepladder.core.types import Example, Message, Record
from stepladder.plugins.decoders.greedy import Greedy
from stepladder.plugins.methods.prompt_search import (
    PromptSearch,
    SearchedPrompt,
    answered_rightly,
    cleaned,
    hold_out,
    requests,
    sets,
    slices,
    usable,
)
from stepladder.plugins.metrics.accuracy import Accuracy
from stepladder.plugins.metrics.macro_f1 import MacroF1
from stepladder.plugins.metrics.mean_absolute_error import MeanAbsoluteError
from stepladder.plugins.metrics.token_f1 import TokenF1
from stepladder.plugins.tasks.generate import Generate

QUICK = {"trials": 5, "shots": 3, "proposals": 3, "rows": 24, "max_new_tokens": 12}


def rows(count, kind="row"):
    return [Example(f"{kind}-{place}", f"input {place}", "ab"[place % 2]) for place in range(count)]


# --- which rows ---


@pytest.mark.parametrize(
    "train, validation, wanted, split, searched, shown",
    [
        (400, 100, 64, "train", 64, 336),
        (80, 100, 64, "train", 40, 40),
        (60, 100, 64, "validation", 64, 60),  # 30 train rows would be too few
        (60, 20, 64, "train", 30, 30),  # and still more than there are validation rows
        (400, 100, 16, "validation", 16, 400),
        (1, 0, 16, "train", 0, 1),
    ],
)
def test_train_rows_that_are_never_shown_are_searched_on(train, validation, wanted, split, searched, shown):
    found = hold_out(rows(train), rows(validation, "validation"), wanted, seed=3)
    assert (found.split, len(found.searched), len(found.shown)) == (split, searched, shown)
    assert not set(found.searched) & set(found.shown)
    if searched:
        answers = [example.expected for example in found.searched]
        assert abs(answers.count("a") - answers.count("b")) <= 1


def test_slices_double():
    assert [len(part) for part in slices(rows(16))] == [16]
    assert [len(part) for part in slices(rows(9))] == [9]
    assert [len(part) for part in slices(rows(50))] == [16, 16, 18]
    assert [example for part in slices(rows(50)) for example in part] == rows(50)


def test_rows_that_were_answered_rightly_are_shown_first():
    right = {"row-0", "row-2", "row-4", "row-7"}
    drawn = sets(rows(20), 4, 0, right)
    assert list(drawn) == ["none", *(f"{size} rows, draw {n}" for size in (4, 2) for n in (1, 2, 3))]
    assert drawn["none"] == ()
    for name, shown in drawn.items():
        assert len(shown) == int(name.split()[0]) if name != "none" else not shown
        expected = [example.expected for example in shown]
        assert expected.count("a") == expected.count("b"), "every answer has its turn"
        if len(shown) == 2:
            assert {example.id for example in shown} <= right, "of each answer, a right row before others"
    assert "row-7" in {example.id for example in drawn["4 rows, draw 1"]}
    assert list(sets(rows(20), 0, 0, right)) == ["none"]
    assert len(sets(rows(2), 8, 0, right)["2 rows, draw 1"]) == 2


def test_answers_of_preferred_rows_have_their_turn_first():
    every = [Example(f"{place}", "asked", f"answer {place}") for place in range(30)]
    shown = spread(every, 3, 0, {"4", "17", "25"})
    assert {example.id for example in shown} == {"4", "17", "25"}


def record(name, expected, predicted):
    return Record(name, "asked", expected, predicted)


def test_rightly_is_what_the_metric_says():
    said = [record("1", "a", "a"), record("2", "a", "b"), record("3", "b", "b")]
    assert answered_rightly(Accuracy(), said) == {"1", "3"}
    assert answered_rightly(MacroF1(), said) == {"1", "3"}
    numbers = [record("1", "10", "10"), record("2", "10", "11"), record("3", "10", "40")]
    assert answered_rightly(MeanAbsoluteError(), numbers) == {"1", "2"}
    words = [record("1", "the blue sea", "blue sea"), record("2", "the sky", "house")]
    assert answered_rightly(TokenF1(), words) == {"1"}


# --- what is proposed ---


def test_requests_paraphrase_and_read_off_rows_by_turns():
    first, second, third = requests("Which colour is it?", rows(8), 3, seed=0)
    assert "Which colour is it?" in first and "Input:" not in first
    assert second.count("Input: input") == 4 and "Which colour" not in second
    assert third == first
    assert all("Input: input" in asked for asked in requests("", rows(8), 3, seed=0))


@pytest.mark.parametrize(
    "written, instruction",
    [
        ('  "Name the colour."  ', "Name the colour."),
        ("Instruction: Name the\ncolour.\n\nThis is shorter.", "Name the colour."),
        ("Here is the new instruction: Name the colour.", "Name the colour."),
        ("Choose one: red or blue.", "Choose one: red or blue."),
        ("Instruction:", "Instruction:"),
        ("\n \n", ""),
    ],
)
def test_what_was_written_is_cleaned(written, instruction):
    assert cleaned(written) == instruction


def test_only_instructions_of_a_fit_length_are_tried_and_each_once():
    own = "Name the colour of it."
    long = "word " * 61
    written = [own.upper(), "", "Colour", long, "Say which colour it has", "say WHICH colour it has."]
    assert usable(written, own) == [own, "Say which colour it has"]
    assert usable(["Say which colour it has", ""], "") == ["", "Say which colour it has"]
    assert len(usable([long], "word " * 40)) == 2, "a long instruction may have long paraphrases"


# --- fit ---


def fit(base, data, folder, **settings):
    method = PromptSearch(PromptSearch.Settings(**{**QUICK, **settings}), Greedy(Greedy.Settings()))
    return method.fit(base, data, FitContext(folder)), method


@pytest.fixture
def searchable(toy):
    """Train rows enough to hold some out."""
    more = replace(
        toy.train,
        rows=[
            *toy.train.rows,
            *(replace(r, id=f"again-{r.id}", input=f"now {r.input}") for r in toy.train.rows),
        ],
    )
    return replace(toy, train=more, metric=Accuracy())


def test_the_best_prompt_is_found_on_rows_that_it_does_not_show(base, searchable, tmp_path):
    adapted, _ = fit(base, searchable, tmp_path, rows=40)
    report = adapted.searched
    assert (report.split, report.rows, report.trials, report.metric) == ("train", 40, 5, "accuracy")
    assert report.failed == 0 and report.seconds > 0
    searched = hold_out(searchable.train.examples(), searchable.validation.examples(), 40, 0)
    assert not set(adapted.prompt.demonstrations) & set(searched.searched)
    assert report.best["instruction"] == adapted.prompt.instruction
    assert report.best["demonstrations"] in report.space["demonstrations"]
    assert report.space["instruction"][0] == searchable.instruction
    best = 0.0
    for rule in ("sum", "mean", "prior"):
        adapted.rule = rule
        said = records(searched.searched, adapted.predict(searched.searched))
        best = max(best, Accuracy().value(said))
    assert best >= report.value > 0


def test_a_prompt_is_never_worse_than_the_users_own_where_it_was_searched(base, searchable, tmp_path):
    own, _ = fit(base, searchable, tmp_path, trials=1)
    assert own.prompt.instruction == searchable.instruction
    assert own.prompt.demonstrations == ()
    found, _ = fit(base, searchable, tmp_path, trials=6)
    assert found.searched.value >= own.searched.value


def test_a_seed_decides_the_prompt(base, searchable, tmp_path):
    first, again = (fit(base, searchable, tmp_path, seed=2)[0] for _ in range(2))
    assert first.prompt == again.prompt
    assert replace(first.searched, seconds=0) == replace(again.searched, seconds=0)
    assert fit(base, searchable, tmp_path, seed=3)[0].searched.space != first.searched.space


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


def test_a_search_that_was_killed_asks_nothing_twice(base, searchable, tmp_path, monkeypatch):
    """What was written and scored before is found again, and the search goes where it would have gone."""
    asked, predict, write = [], SearchedPrompt.predict, SearchedPrompt.predict_calibrated

    def count(answer):
        def counted(candidate, examples):
            if len(asked) == 4:
                asked.append(None)
                raise Killed
            asked.append(len(examples))
            return answer(candidate, examples)

        return counted

    expected, _ = fit(base, searchable, tmp_path, seed=2)
    monkeypatch.setattr(SearchedPrompt, "predict", count(predict))
    monkeypatch.setattr(SearchedPrompt, "predict_calibrated", count(write))
    method = PromptSearch(PromptSearch.Settings(**QUICK, seed=2), Greedy(Greedy.Settings()))
    keeping = Keeping(tmp_path / "scratch", "f" * 64)
    with pytest.raises(Killed):
        method.fit(base, searchable, FitContext(tmp_path, keeping=keeping))
    found = method.fit(base, searchable, FitContext(tmp_path, keeping=keeping))
    whole = list(asked)
    assert found.prompt == expected.prompt
    assert replace(found.searched, seconds=0) == replace(expected.searched, seconds=0)
    asked[:] = [0] * 5
    method.fit(base, searchable, FitContext(tmp_path, keeping=keeping))
    assert asked[5:] == [len(searchable.validation)], "the third time all is known but the rule"
    assert len(whole) > 5, "the second time the rest was asked"


def test_the_prompt_is_saved_whole_and_reloads_to_the_same_scores(base, load, searchable, tmp_path):
    adapted, method = fit(base, searchable, tmp_path)
    own = Prompt("instruction", tuple(searchable.train.rows[:2]), instruction="the door was red ?")
    adapted.prompt = adapted.wording.prompt = own
    folder = tmp_path / "artifact"
    folder.mkdir()
    adapted.save(folder)
    text = (folder / "prompt.txt").read_text()
    assert text.startswith("<|im_start|>user\nthe door was red ?\n\nAnswer with one of: blue sky sea, red.")
    assert text.endswith("<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n")
    for shown in adapted.prompt.demonstrations:
        assert f"{shown.input}<|im_end|>\n<|im_start|>assistant\n{shown.expected}<|im_end|>" in text
    schema = DataSchema(searchable.task, searchable.instruction, searchable.labels)
    loaded = type(adapted).load(folder, load(), schema, method)
    asked = searchable.validation.examples()
    assert loaded.prompt == adapted.prompt
    assert loaded.predict(asked) == adapted.predict(asked)


class Margin(Metric):
    """By how much the right answer is scored above the best other one."""

    name = "margin"

    def row(self, record):
        right = record.scores[record.expected]
        return right - max(score for answer, score in record.scores.items() if answer != record.expected)


def test_trials_that_are_worse_on_the_first_rows_are_given_up(base, searchable, tmp_path, capsys):
    data = replace(searchable, metric=Margin())
    adapted, _ = fit(base, data, tmp_path, trials=8, rows=40, shots=4)
    log = capsys.readouterr().out
    assert adapted.searched.pruned > 0
    full = adapted.searched.trials - adapted.searched.pruned - adapted.searched.failed
    assert log.count("on 40 rows,") == full
    assert log.count("on 16 rows,") == adapted.searched.trials


@pytest.mark.parametrize("conversations", [False, True])
def test_open_answers_are_searched_by_writing(base, searchable, tmp_path, conversations):
    def asked(example):
        said = (Message("user", example.input), Message("assistant", example.expected))
        return replace(example, messages=said if conversations else ())

    few = replace(searchable.train, rows=[asked(row) for row in searchable.train.rows[:34]])
    validation = replace(searchable.validation, rows=[asked(row) for row in searchable.validation.rows])
    data = replace(searchable, task=Generate(), labels=(), train=few, validation=validation, metric=TokenF1())
    adapted, _ = fit(base, data, tmp_path, trials=3, rows=16, max_new_tokens=4)
    assert adapted.searched.metric == "token_f1"
    assert adapted.searched.trials == 3
    assert all(said.scores is None for said in adapted.predict(validation.examples()[:2]))
    folder = tmp_path / "artifact"
    folder.mkdir()
    adapted.save(folder)
    opening = "system" if conversations else "user"
    assert (folder / "prompt.txt").read_text().startswith(f"<|im_start|>{opening}\n")


def test_a_prompt_without_room_is_a_failed_trial(base, searchable, tmp_path):
    adapted, _ = fit(base, searchable, tmp_path, trials=4, shots=40)
    assert adapted.searched.failed > 0
    assert adapted.prompt.demonstrations == () or len(adapted.prompt.demonstrations) <= 20


def test_without_a_row_to_search_on_it_says_so_before_a_base_is_loaded(toy):
    method = PromptSearch(PromptSearch.Settings())
    one, none = (replace(toy.train, rows=toy.train.rows[:n], tokens=toy.train.tokens[:n]) for n in (1, 0))
    assert "expected two training rows" in method.data_fault(replace(toy, train=one, validation=none))
    assert method.data_fault(replace(toy, train=one, validation=one)) is None
    assert method.data_fault(toy) is None


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"shots": -1}, {"rows": 8}, {"style": "poem"}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        PromptSearch.Settings(**wrong)
