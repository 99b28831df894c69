"""What the scorers say of answers and of beginnings."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError
from stepladder.core.errors import InputError
from stepladder.core.types import Example
from stepladder.plugins.scorers.callable import CallableScorer
from stepladder.plugins.scorers.json_schema import JsonSchema
from stepladder.plugins.scorers.python_syntax import PythonSyntax
from stepladder.plugins.scorers.regex import Regex

ROW = Example("a", "what ?", "")
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 1}, "b": {"enum": ["x", "y"]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "text, score",
    [
        ("x = 1", 1),
        ("def f(x):\n    return x", 1),
        ("x = = 1", 0),
        ("def f(x):", 0),
        ("", 0),
        ("# only words", 0),
        ("x\0", 0),
        ("Sure! Here is it: x = 1", 0),
    ],
)
def test_python(text: str, score: int):
    assert PythonSyntax(PythonSyntax.Settings()).score(ROW, text, True) == score


@pytest.mark.parametrize(
    "text, score",
    [
        ("", 1),
        ("def f(x", 1),
        ("def f(x):\n    retu", 1),
        ("for each in x:\n    print('open", 1),
        ("x = 1\ny = (2 +", 1),
        ("x = = 1\ny", 0),
        ("Sure thing, here it is:\n", 0),
    ],
)
def test_a_beginning_of_python(text: str, score: int):
    assert PythonSyntax(PythonSyntax.Settings()).score(ROW, text, False) == score


def judged(text: str, ended: bool) -> float:
    return JsonSchema(JsonSchema.Settings(schema=SCHEMA)).score(ROW, text, ended)


@pytest.mark.parametrize(
    "text, score",
    [
        ('{"a": 2, "b": "x"}', 1),
        ('{"a": 2}', 0.5),
        ('{"a": 0, "b": "x"}', 0.5),
        ('{"a": 2, "b": "x", "c": 1}', 0.5),
        ("7", 0.5),
        ('{"a": 2, "b": "x"', 0),
        ('{"a": 2, "b": "x"} Enjoy!', 0),
        ('{"a": NaN, "b": "x"}', 0),
        ("", 0),
    ],
)
def test_json(text: str, score: float):
    assert judged(text, True) == score


@pytest.mark.parametrize(
    "text, score",
    [
        ("", 1),
        ("{", 1),
        ('{"a', 1),
        ('{"a": 2, "b": "', 1),
        ('{"a": 2, "b": "x"', 1),
        ('{"a": 2, "b": "x"}', 1),
        ('{"a": "two", ', 0.5),
        ('{"a": 0, "b"', 0.5),
        ('{"c": 1, ', 0.5),
        ("[1,", 0.5),
        ('{"a" 2', 0),
        ("Sure", 0),
        ('{"a": 2} and', 0),
    ],
)
def test_a_beginning_of_json(text: str, score: float):
    assert judged(text, False) == score


def test_a_schema_is_taken_from_its_file_and_kept(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    kept = JsonSchema.settled(JsonSchema.Settings(file=path, seconds=3))
    assert kept.model_dump(by_alias=True) == {"seconds": 3.0, "schema": SCHEMA, "file": None}


@pytest.mark.parametrize(
    "content, fault",
    [('{"type": "objekt"}', "is no JSON schema: at type"), ("{", "cannot be read"), ("[]", "no JSON object")],
)
def test_what_is_no_schema_is_refused(tmp_path, content: str, fault: str):
    path = tmp_path / "schema.json"
    path.write_text(content)
    with pytest.raises(InputError, match=fault):
        JsonSchema.settled(JsonSchema.Settings(file=path))


def test_a_schema_is_given_once():
    for given in ({}, {"schema": SCHEMA, "file": "x.json"}):
        with pytest.raises(ValidationError, match="either `schema` or `file`"):
            JsonSchema.Settings(**given)


def test_a_schema_fetches_nothing():
    away = JsonSchema(JsonSchema.Settings(schema={"$ref": "http://127.0.0.1:9/schema.json"}))
    with pytest.raises(Exception, match="Unresolvable"):
        away.score(ROW, "1", True)


@pytest.mark.parametrize("text, score", [("call 555", 1), ("call", 0)])
def test_a_pattern_is_found_anywhere(text: str, score: int):
    assert Regex(Regex.Settings(pattern=r"\d{3}")).score(ROW, text, True) == score


def test_a_pattern_that_does_not_compile_is_refused():
    with pytest.raises(ValidationError, match="expected a regular expression"):
        Regex.Settings(pattern="(")


def test_a_function_is_called_with_answer_and_input():
    found = CallableScorer(CallableScorer.Settings(function="operator:contains"))
    assert found.score(Example("a", "yes", ""), "oh yes", True) == 1


@pytest.mark.parametrize(
    "function, fault",
    [
        ("os.path", "expected module:function"),
        ("nowhere.at_all:f", "no module"),
        ("a b:c", "expected module"),
    ],
)
def test_a_function_that_cannot_be_is_refused(function: str, fault: str):
    with pytest.raises(InputError, match=fault):
        CallableScorer.settled(CallableScorer.Settings(function=function))
