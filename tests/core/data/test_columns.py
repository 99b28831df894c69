"""Which column or template gives which field, and what is said where none does."""

import pytest
from stepladder.core.data.columns import Columns
from stepladder.core.errors import ConfigError, DataError, RowFault
from stepladder.core.source import SourceRow
from stepladder.plugins.tasks.choice import Choice
from stepladder.plugins.tasks.classify import Classify
from stepladder.plugins.tasks.generate import Generate
from stepladder.plugins.tasks.text import Text

FILE = "train.jsonl"


def read(columns, **row):
    return columns.read(SourceRow(1, row))


def check(columns, *rows):
    columns.check(FILE, [SourceRow(number, row) for number, row in enumerate(rows, start=1)])


def test_without_names_fields_are_columns_of_their_own_name():
    example = read(Columns.of(Classify(), {}), input="Hi", label="a", id=7)
    assert (example.input, example.expected) == ("Hi", "a")


def test_named_columns_are_read_and_no_others():
    columns = Columns.of(Generate(), {"columns": {"input": "q", "response": "a"}})
    example = read(columns, q="2+2?", a="4", messages=[], input="other")
    assert (example.input, example.expected, example.messages) == ("2+2?", "4", ())


def test_a_column_that_one_row_lacks_is_the_fault_of_that_row():
    columns = Columns.of(Classify(), {"columns": {"input": "text", "label": "intent"}})
    with pytest.raises(RowFault, match=r"^no column 'intent'; the row has text, label$"):
        read(columns, text="Hi", label="a")
    check(columns, {"text": "Hi"}, {"text": "Hi", "intent": "a"})


def test_a_column_that_all_rows_lack_stops_the_run():
    columns = Columns.of(Classify(), {"columns": {"input": "txt", "label": "intent"}})
    with pytest.raises(DataError) as error:
        check(columns, {"text": "Hi", "intent": "a"}, {"text": "Hi", "intent": "b"})
    assert str(error.value) == (
        "train.jsonl: data.columns.input: no row has a column 'txt' (did you mean 'text'?). "
        "The columns are text, intent"
    )


def test_rows_that_do_not_fit_the_task_stop_the_run():
    with pytest.raises(DataError) as error:
        check(Columns.of(Classify(), {}), {"text": "Hi", "intent": "a"})
    assert str(error.value) == (
        "train.jsonl: task classify can read none of the first rows: input is missing. It reads the fields "
        "input, label; the columns are text, intent. Say which column is which under data.columns, "
        "for example {input: text}"
    )
    with pytest.raises(DataError, match=r"can read none of the first rows: label is missing"):
        check(Columns.of(Classify(), {"columns": {"input": "text"}}), {"text": "Hi", "label": "a"})


def test_rows_that_are_all_faulty_on_their_own_account_do_not():
    check(Columns.of(Classify(), {}), {"input": "", "label": "a"})
    columns = Columns.of(Classify(), {})
    columns.check(FILE, [SourceRow(1, fault="broken JSON")])


def test_a_field_that_the_task_does_not_have():
    with pytest.raises(ConfigError) as error:
        Columns.of(Classify(), {"columns": {"input": "text", "lable": "intent"}})
    assert "no field 'lable' (did you mean 'label'?); task classify has the fields input, label" in str(
        error.value
    )


def test_templates_write_the_first_two_fields_of_the_task():
    data = {"prompt": "{{ q | trim }}\nThink.\n", "response": "#### {{ answers[0] }}"}
    example = read(Columns.of(Generate(), data), q=" 2+2? ", answers=[4], input="other")
    assert (example.input, example.expected) == ("2+2?\nThink.", "#### 4")
    columns = Columns.of(Choice(), {**data, "response": "{{ right }}", "columns": {"options": "all"}})
    example = read(columns, q="2+2?", right="4", all=["3", "4"])
    assert (example.input, example.expected, example.options) == ("2+2?\nThink.", "4", ("3", "4"))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ question }}", "data.prompt: 'question' is undefined; the row has q, n, none"),
        ("{{ q.text }}", "data.prompt: 'str object' has no attribute 'text'; the row has q, n, none"),
        ("{{ none }}", "data.prompt: a column that it prints is null"),
        ("{{ n / 0 }}", "data.prompt: ZeroDivisionError: division by zero"),
        ("{{ q + n }}", 'data.prompt: TypeError: can only concatenate str (not "int") to str'),
        ("{{ q.__class__.__mro__ }}", None),
        ("{{ ''.__class__ }}", None),
        ("{% for i in range(10**9) %}x{% endfor %}", None),
        ("{{ '   ' }}", "input is empty"),
    ],
)
def test_what_a_template_cannot_print_is_the_fault_of_the_row(template, reason):
    columns = Columns.of(Generate(), {"prompt": template, "response": "x"})
    with pytest.raises(RowFault) as fault:
        read(columns, q="2+2?", n=4, none=None)
    assert reason is None or str(fault.value) == reason
    assert str(fault.value).startswith(("data.prompt: ", "input is"))


def test_a_template_does_not_run_what_stands_in_a_row():
    columns = Columns.of(Generate(), {"prompt": "{{ q }}", "response": "<b>{{ a }}"})
    example = read(columns, q="{{ 1 + 1 }}{% raw %}", a="<&>")
    assert (example.input, example.expected) == ("{{ 1 + 1 }}{% raw %}", "<b><&>")


def test_a_name_that_no_row_has_stops_the_run_unless_the_template_allows_for_it():
    columns = Columns.of(Generate(), {"prompt": "{{ questoin }}", "response": "{{ answer }}"})
    with pytest.raises(DataError, match=r"'questoin' is undefined; the row has question, answer"):
        check(columns, {"question": "2+2?", "answer": "4"})
    guarded = Columns.of(
        Generate(), {"prompt": "{{ q }}{% if more is defined %}{{ more }}{% endif %}", "response": "x"}
    )
    check(guarded, {"q": "2+2?"})
    assert read(guarded, q="2+2?").input == "2+2?"


def test_faults_of_the_config_itself():
    with pytest.raises(ConfigError, match=r"data\.response: 1 fault\n.*line 1 of the template: "):
        Columns.of(Generate(), {"prompt": "{{ q }}", "response": "{{ a "})
    with pytest.raises(ConfigError, match=r"data\.prompt and data\.columns both give input"):
        Columns.of(Generate(), {"prompt": "{{ q }}", "columns": {"input": "q", "response": "a"}})
    with pytest.raises(ConfigError, match=r"task text has no field that data\.response could write"):
        Columns.of(Text(), {"prompt": "{{ q }}", "response": "{{ a }}"})


def test_slices_are_read_beside_the_fields_and_a_row_without_one_lies_in_that_of_no_name():
    data = {"columns": {"input": "q", "label": "a"}, "slices": ["channel", "year"]}
    columns = Columns.of(Classify(), data)
    row = {"q": "where?", "a": "here", "channel": "mail", "year": 2024}
    assert columns.read(SourceRow(1, row)).slices == {"channel": "mail", "year": "2024"}
    assert columns.read(SourceRow(2, {**row, "channel": None})).slices == {"channel": "", "year": "2024"}


def test_a_slice_that_no_row_has_is_told_with_the_nearest_name(tmp_path):
    columns = Columns.of(Classify(), {"columns": {"input": "q", "label": "a"}, "slices": ["chanel"]})
    row = SourceRow(1, {"q": "where?", "a": "here", "channel": "mail"})
    with pytest.raises(
        DataError, match=r"data.slices: no row has a column 'chanel' \(did you mean 'channel'\?\)"
    ):
        columns.check("rows.jsonl", [row])


@pytest.mark.parametrize("named", [{"input": "q", "label": "a"}, {}])
def test_any_row_may_say_of_which_task_of_a_family_it_is(named):
    columns = Columns.of(Classify(), {"columns": {**named, "task": "domain"}})
    row = {"q": "where?", "a": "here", "input": "where?", "label": "here"}
    read = columns.fitted([SourceRow(1, row)]).read
    assert read(SourceRow(1, {**row, "domain": " banking "})).task == "banking"
    assert read(SourceRow(1, {**row, "domain": 7})).task == "7"
    with pytest.raises(RowFault, match="domain is null"):
        read(SourceRow(2, {**row, "domain": None}))
    with pytest.raises(RowFault, match="domain is missing"):
        read(SourceRow(3, row))


def test_a_column_of_tasks_that_no_row_has_is_told_with_the_nearest_name():
    columns = Columns.of(Classify(), {"columns": {"task": "domian"}})
    row = SourceRow(1, {"input": "where?", "label": "here", "domain": "maps"})
    with pytest.raises(
        DataError, match=r"data.columns.task: no row has a column 'domian' \(did you mean 'domain'\?\)"
    ):
        columns.check("rows.jsonl", [row])
