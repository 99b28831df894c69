"""Everything that a new user gets wrong, by the real command: what is said, the exit code, what is left."""

import hashlib
import json
import pickle
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from colours import COLOURS, as_lines, colour_rows
from commands import environment_in, open_shell
from stepladder.core.errors import ModelError

METHODS = """
methods: [zero_shot]
"""
GOOD_ROWS = 72
QUESTION = {"text": "my car is red", "colour": "red"}
# Each line with its reason, in the order in which they stand behind the good rows.
FAULTS = [
    (b"{broken", "broken JSON: Expecting property name enclosed in double quotes at column 2"),
    (b"[1]", "not an object but a list"),
    (json.dumps({**QUESTION, "colour": None}).encode(), "label is null"),
    (json.dumps({**QUESTION, "colour": 0.5}).encode(), "label is a number, expected text or a whole number"),
    (
        json.dumps({**QUESTION, "colour": ["red"]}).encode(),
        "label is a list, expected text or a whole number",
    ),
    (json.dumps({**QUESTION, "colour": ""}).encode(), "label is empty"),
    (json.dumps({"colour": "red"}).encode(), "no column 'text'; the row has colour"),
    (
        '{"text": "café red", "colour": "red"}'.encode("latin-1"),
        "wrong encoding: byte 0xe9 at column 14 is not UTF-8",
    ),
    (b'{"text": "' + b"x" * 10_000_000 + b'"}', "over-long line: more than 1,048,576 bytes"),
    (json.dumps({**QUESTION, "text": "red " * 600}).encode(), "629 tokens, over the limit of 512"),
]


class Trap:
    """Touches a file when it is read from a pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def run(name, *settings):
    """A run whose every file goes below the folder of its name."""
    return ["run", "colours.yaml", "--engine", "inline", "--runs", name, *flags(*settings)]


def check(*settings):
    return ["check", "colours.yaml", *flags(*settings)]


def flags(*settings):
    return [word for setting in settings for word in ("--set", setting)]


NAMES = (
    "task=generate",
    "data.train=trian.jsonl",
    "data.columns={input: text, response: colour}",
    "methods=[zero_shoot, {lora: {rnak: 3}}, linear_probe]",
    "base=no_model",
)
MIXED = (
    "data.train=mixed.jsonl",
    "data.max_bad=0.2",
    "data.max_length=4096",
    "methods=[{few_shot: {shots: 60}}, {lora: {rank: 2, epochs: 1}}]",
)
COMMANDS = {
    "names": run("names", *NAMES),
    "names_checked": check(*NAMES),
    "names_debugged": ["--debug", *run("names", *NAMES)],
    "no_config": ["run", "colour.yaml", "--engine", "inline"],
    "pickled": run("pickled", "base=pickled"),
    "pickled_checked": check("base=pickled"),
    "column_debugged": ["--debug", *run("debugged", "data.columns={input: txt, label: colour}")],
    "column_checked": check("data.columns={input: txt, label: colour}"),
    "utf16": run("utf16", "data.train=utf16.jsonl"),
    "broken": run("broken", "data.train=broken.jsonl"),
    "null": check("data.test=null.jsonl"),
    "empty_response": check(
        "task=generate", "data.train=unanswered.jsonl", "data.columns={input: text, response: colour}"
    ),
    "no_bytes": check("data.test=no_bytes.jsonl"),
    "blank_lines": check("data.test=blank_lines.jsonl"),
    "no_replay": run("no_replay", "replay.source=empty_text.jsonl", "methods=[lora]"),
    "mixed": run("mixed", *MIXED),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory, base_folder):
    """A folder with a good config, good rows, and every kind of bad file beside them."""
    folder = tmp_path_factory.mktemp("project")
    good, test = colour_rows()[:GOOD_ROWS], colour_rows()[GOOD_ROWS:]
    train = as_lines(good)
    files = {
        "train": train,
        "test": as_lines(test),
        "broken": as_lines(good[:20]) + "{broken\n" * 20,
        "null": as_lines({**row, "colour": None} for row in test),
        "unanswered": as_lines({**row, "colour": " "} for row in good),
        "empty_text": as_lines([{"text": ""}, {"text": " "}]),
        "no_bytes": "",
        "blank_lines": "\n \n",
    }
    for name, content in files.items():
        (folder / f"{name}.jsonl").write_text(content)
    (folder / "utf16.jsonl").write_text(train, encoding="utf-16")
    (folder / "mixed.jsonl").write_bytes(train.encode() + b"".join(line + b"\n" for line, _ in FAULTS))
    (folder / "colours.yaml").write_text((COLOURS + METHODS).format(base=base_folder))
    (folder / "pickled").mkdir()
    shutil.copy(base_folder / "config.json", folder / "pickled")
    (folder / "pickled" / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(folder / "trapped")))
    return folder


@dataclass(frozen=True)
class Attempt:
    code: int
    out: str
    err: str
    changed: list[str]  # the files that it added, changed or took away


@pytest.fixture(scope="module")
def ended(project, tmp_path_factory):
    """How each command ended."""
    # A short name, since sockets lie in it.
    with tempfile.TemporaryDirectory() as temporary:
        environment = environment_in(tmp_path_factory.mktemp("home"), TMPDIR=temporary)
        with open_shell(project, environment) as shell:
            return {name: attempt(shell, command, project, temporary) for name, command in COMMANDS.items()}


def attempt(shell, command, project, temporary):
    before = files_in(project, temporary)
    ended = shell.stepladder(*command)
    changed = sorted({path for path, _ in files_in(project, temporary) ^ before})
    return Attempt(ended.code, ended.out, ended.err, changed)


def files_in(project, temporary):
    files = [*project.rglob("*"), *Path(temporary).glob("stepladder-*")]
    return {
        (str(path.relative_to(project) if path.is_relative_to(project) else path), changed_at(path))
        for path in files
    }


def changed_at(path):
    return path.stat().st_mtime_ns if path.is_file() else 0


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def run_dir_of(project, name):
    (folder,) = (project / name).glob("colours-*")
    return folder


def test_every_command_but_the_one_with_few_faults_ends_with_2(ended):
    assert {name: each.code for name, each in ended.items()} == {
        name: 0 if name == "mixed" else 2 for name in COMMANDS
    }


def test_a_traceback_is_shown_only_where_it_is_asked_for(ended):
    shown = [name for name, each in ended.items() if "Traceback" in each.out + each.err]
    assert shown == ["names_debugged", "column_debugged"]


@pytest.mark.parametrize(
    ("plain", "debugged", "where"),
    [
        ("names", "names_debugged", "core/config/resolve.py"),
        ("column_checked", "column_debugged", "core/data/columns.py"),
    ],
)
def test_the_traceback_is_that_of_the_child_and_the_message_stays_last(ended, plain, debugged, where):
    said = ended[debugged].err
    message = ended[plain].err
    assert "flows/cli.py" in said
    assert where in said.partition("In the child process:\n")[2]
    assert message in said[said.rindex("\nstepladder: ") + 1 :]


def test_text_to_replay_that_holds_no_token_ends_the_run_before_anything_is_fitted(ended, project):
    said = ended["no_replay"].err
    assert "replay.source: " in said and "empty_text.jsonl: no token to train on in its 2 texts" in said
    assert "the text is empty" in said and "`source: self`" in said
    assert not list((project / "no_replay" / "steps").glob("fit-*/result.json"))


def test_nothing_is_left_of_what_is_refused_before_the_run(ended):
    early = ["names", "names_debugged", "no_config", "pickled"]
    checked = [name for name, arguments in COMMANDS.items() if arguments[0] == "check"]
    assert [path for name in early + checked for path in ended[name].changed] == []


def test_all_wrong_names_are_told_at_once_each_with_the_flag_that_gave_it(ended, project, registry):
    able = [name for name, each in registry.methods.items() if "generate" in registry.tasks_of(each)]
    assert {"few_shot", "lora"} < set(able)
    methods = f"--set {NAMES[3]}: methods"
    path = project / "colours.yaml"
    assert sorted(ended["names"].err.splitlines()) == sorted(
        [
            f"stepladder: {path}: 5 faults",
            f"  - --set data.train=trian.jsonl: data.train: no such file: {project}/trian.jsonl "
            "(did you mean 'train.jsonl'?)",
            "  - --set base=no_model: base: no base 'no_model': expected smollm2-135m-instruct, "
            "all-minilm-l6-v2, a folder, a .gguf file, or a hub id such as owner/name",
            f"  - {methods}: no method 'zero_shoot' (did you mean 'zero_shot'?); "
            "`stepladder methods` lists them",
            f"  - {methods}.lora.rnak: unknown key (did you mean 'rank'?)",
            f"  - {methods}.linear_probe: does not do the task 'generate', only classify, regress; "
            f"methods that do: {', '.join(able)}",
        ]
    )
    assert ended["names_checked"].err == ended["names"].err.replace(str(path), "colours.yaml")


def test_a_config_that_is_not_there(ended, project):
    assert ended["no_config"].err == (
        f"stepladder: {project}/colour.yaml: 1 fault\n"
        f"  - no such file: {project}/colour.yaml (did you mean 'colours.yaml'?)\n"
    )


def test_a_base_of_pickles_is_refused_unread(ended, project):
    fault = (
        f"base: {project}/pickled: expected weights as .safetensors, found only pytorch_model.bin, which "
        "may run code when read; where they are trusted, transformers' save_pretrained writes them so\n"
    )
    assert ended["pickled"].err == f"stepladder: {fault}"
    assert ended["pickled_checked"].err == f"stepladder: colours.yaml: 1 fault\n  - {fault}"
    assert not (project / "trapped").exists()
    pickle.loads((project / "pickled" / "pytorch_model.bin").read_bytes())
    assert (project / "trapped").exists(), "the trap works"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "column_checked",
            "{project}/train.jsonl: data.columns.input: no row has a column 'txt' (did you mean 'text'?). "
            "The columns are text, colour",
        ),
        (
            "utf16",
            "{project}/utf16.jsonl is written in UTF-16; expected UTF-8. "
            "Convert it: iconv -f UTF-16 -t UTF-8 utf16.jsonl > utf8-utf16.jsonl",
        ),
        (
            "broken",
            "{project}/broken.jsonl: 20 of 40 rows (50.0%) of train cannot be used; data.max_bad allows "
            "10.0%. The first:\n"
            "  line 21: broken JSON: Expecting property name enclosed in double quotes at column 2\n"
            "  line 22: broken JSON: Expecting property name enclosed in double quotes at column 2\n"
            "  line 23: broken JSON: Expecting property name enclosed in double quotes at column 2\n"
            "Repair these rows, or raise data.max_bad to go on without them",
        ),
        (
            "null",
            "{project}/null.jsonl: 24 of 24 rows (100.0%) of test cannot be used; data.max_bad allows "
            "10.0%. The first:\n  line 1: label is null\n  line 2: label is null\n  line 3: label is null\n"
            "Repair these rows, or raise data.max_bad to go on without them",
        ),
        (
            "empty_response",
            "{project}/unanswered.jsonl: 72 of 72 rows (100.0%) of train cannot be used; data.max_bad allows "
            "10.0%. The first:\n"
            "  line 1: response is empty\n  line 2: response is empty\n  line 3: response is empty\n"
            "Repair these rows, or raise data.max_bad to go on without them",
        ),
        ("no_bytes", "{project}/no_bytes.jsonl is empty; expected one row a line"),
        ("blank_lines", "{project}/blank_lines.jsonl: no rows for test; expected one row a line"),
    ],
)
def test_rows_that_no_run_could_use_are_told_with_file_and_remedy(ended, project, name, message):
    said = ended[name].err.partition("Rows that were left out")[0].partition("Logs: ")[0]
    assert said == f"stepladder: {message.format(project=project)}\n"


@pytest.mark.parametrize("name", ["utf16", "broken"])
def test_a_run_that_cannot_read_its_rows_leaves_its_folder_and_nothing_half_written(ended, project, name):
    run_dir = run_dir_of(project, name)
    files = {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()}
    written = {"config.yaml", "run.json", "graph.json", "result.json", "report.md", "quarantine.jsonl"}
    assert files == {*written, "logs/read.txt"}
    steps = [path.name for path in (project / name / "steps").iterdir()]
    kinds = sorted(re.sub(r"-[0-9a-f]{16}", "", step) for step in steps)
    assert kinds == [".locks", "read.failed", "report"]
    (failed,) = (project / name / "steps").glob("read-*.failed")
    of_any_step = {"error.json", "log.txt", "outcome.json", "spec.json", "usage.json"}
    assert {path.name for path in failed.iterdir()} == {*of_any_step, "quarantine.jsonl"}
    assert {Path(path).parts[0] for path in ended[name].changed} == {name}


def test_the_result_of_such_a_run_says_why(ended, project):
    run_dir = run_dir_of(project, "broken")
    result = json.loads((run_dir / "result.json").read_text())
    (candidate,) = result["candidates"]
    assert (result["status"], result["choice"]["id"], result["registered"]) == ("failed", None, None)
    assert (candidate["status"], candidate["error"]) == ("skipped", "skipped, since read failed")
    assert result["choice"]["reason"].startswith(f"read: {project}/broken.jsonl: 20 of 40 rows")


def test_the_quarantine_is_pointed_at_only_where_rows_are_in_it(ended, project):
    quarantine = run_dir_of(project, "broken") / "quarantine.jsonl"
    assert f"Rows that were left out, with reasons: {quarantine}\n" in ended["broken"].err
    assert [row["line"] for row in read_lines(quarantine)] == list(range(21, 41))
    assert (run_dir_of(project, "utf16") / "quarantine.jsonl").read_text() == ""
    assert "Rows that were left out" not in ended["utf16"].err
    assert f"Logs: {run_dir_of(project, 'utf16') / 'logs'}\n" in ended["utf16"].err


def test_a_run_goes_on_without_a_few_bad_rows_and_counts_them(ended, project):
    assert ended["mixed"].err == ""
    run_dir = run_dir_of(project, "mixed")
    data = json.loads((run_dir / "result.json").read_text())["data"]
    assert data["train"]["read"] == GOOD_ROWS + len(FAULTS)
    # The last line is too long for the base, which is found only after rows are held out for validation.
    quarantined = {split: data[split]["quarantined"] for split in ("train", "validation", "test")}
    assert quarantined["test"] == 0
    assert quarantined["train"] + quarantined["validation"] == len(FAULTS)
    assert data["train"]["kept"] + data["validation"]["kept"] == GOOD_ROWS


def test_each_bad_row_has_its_line_and_reason_and_is_cut(ended, project):
    quarantine = read_lines(run_dir_of(project, "mixed") / "quarantine.jsonl")
    reasons = [reason for _, reason in FAULTS]
    assert [row["reason"] for row in quarantine] == reasons
    assert [row["line"] for row in quarantine] == list(range(GOOD_ROWS + 1, GOOD_ROWS + 1 + len(FAULTS)))
    assert {row["file"] for row in quarantine} == {str(project / "mixed.jsonl")}
    assert [len(row["row"]) for row in quarantine[-2:]] == [500, 500]


def test_a_prompt_of_too_many_shots_is_a_failed_row_of_the_table(ended, project):
    result = json.loads((run_dir_of(project, "mixed") / "result.json").read_text())
    states = {each["id"]: each["status"] for each in result["candidates"]}
    assert states == {"few_shot": "failed", "lora": "ok"}
    error = next(each["error"] for each in result["candidates"] if each["id"] == "few_shot")
    assert re.fullmatch(
        r"few_shot: prompt and answer take up to \d{3} tokens, and \S+tiny-llama attends to 512: "
        r"lower shots or max_new_tokens, or set data\.max_length",
        error,
    )
    out = ended["mixed"].out
    assert f"few_shot failed: {error}\n" in out
    cells = [line.replace("│", " ").split()[:3] for line in out.splitlines()]
    assert ["0.1", "few_shot", "failed"] in cells


@pytest.fixture
def served(ended, project, tmp_path, on_the_cpu):
    """What a registered version of the run's LoRA would hold."""
    shutil.copytree(run_dir_of(project, "mixed") / "candidates" / "lora" / "artifact", tmp_path / "artifact")
    (spec,) = [
        json.loads(path.read_text())
        for path in (project / "mixed" / "steps").glob("fit-*/spec.json")
        if json.loads(path.read_text())["candidate"]["id"] == "lora"
    ]
    (tmp_path / "served.json").write_text(json.dumps({"base": spec["base"]}))
    return tmp_path


def load(served):
    from stepladder.core.package.served import open_package

    return open_package(served)


def test_an_artifact_of_a_finished_run_serves(served):
    (answer,) = load(served).answer([{"input": "my car is red"}])
    assert answer in ("red", "blue")


@pytest.mark.parametrize("name", ["weights.safetensors", "adapter.json", "prompt.json"])
def test_a_changed_file_of_the_artifact_is_refused(served, name):
    file = served / "artifact" / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match=rf"artifact: {name} is missing or not what .*run the fit again"):
        load(served)


def test_a_pickle_in_place_of_weights_is_refused_unread_even_where_the_manifest_names_it(served):
    weights, manifest = served / "artifact" / "weights.safetensors", served / "artifact" / "manifest.json"
    weights.write_bytes(pickle.dumps(Trap(served / "trapped")))
    with pytest.raises(ModelError, match=r"weights\.safetensors is missing or not what the fit wrote"):
        load(served)
    hashes = json.loads(manifest.read_text())
    hashes[weights.name] = hashlib.sha256(weights.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(hashes))
    with pytest.raises(ModelError, match=r"artifact: a file is no safetensors .*run the fit again"):
        load(served)
    assert not (served / "trapped").exists()
