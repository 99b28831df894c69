"""`stepladder preview` over real files and a tokenizer of our own; no weights are ever read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from stepladder.flows.commands.preview import preview
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONFIG = """
name: meals
base: base
task: generate
data:
  train: train.jsonl
  test: test.jsonl
  validation: validation.jsonl
  columns: {input: input, response: response}
  max_bad: 0.9
methods: [zero_shot]
"""


def save_base(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["user assistant"], trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", extra_special_tokens=["<|im_start|>"]
    )
    wrapped.chat_template = CHATML
    wrapped.save_pretrained(folder)
    config = {"model_type": "llama", "max_position_embeddings": 512}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"")


def save_rows(path: Path, rows: list[tuple[str, str]]) -> None:
    lines = (json.dumps({"input": question, "response": answer}) for question, answer in rows)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("preview")
    save_base(folder / "base")
    rows = [("Lunch?", "拉麵 ☕"), ("Dinner?", "Soup<|im_end|>"), ("Snack?", "Nuts"), ("Later?", "Tea")]
    save_rows(folder / "train.jsonl", rows)
    save_rows(folder / "validation.jsonl", [("Brunch?", "Eggs")])
    save_rows(folder / "test.jsonl", [("Breakfast?", "Oats")])
    (folder / "run.yaml").write_text(CONFIG)
    return folder


def run(folder: Path, *flags: str, **env: str) -> str:
    app = typer.Typer()
    app.command()(preview)
    result = CliRunner().invoke(app, [str(folder / "run.yaml"), *flags], env=env, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_json_spells_each_row_and_marks_its_answer(folder):
    shown = json.loads(run(folder, "--json"))
    assert ["".join(row["tokens"]) for row in shown] == [
        "<|im_start|>user\nLunch?<|im_end|>\n<|im_start|>assistant\n拉麵 ☕<|im_end|>\n",
        "<|im_start|>user\nSnack?<|im_end|>\n<|im_start|>assistant\nNuts<|im_end|>\n",
        "<|im_start|>user\nLater?<|im_end|>\n<|im_start|>assistant\nTea<|im_end|>\n",
    ]
    trained = ["".join(t for t, on in zip(row["tokens"], row["trained"], strict=True) if on) for row in shown]
    assert trained == ["拉麵 ☕<|im_end|>\n", "Nuts<|im_end|>\n", "Tea<|im_end|>\n"]
    assert all(row["id"] for row in shown)


def test_text_is_green_where_trained_and_says_what_is_left_out(folder):
    output = run(folder, "--rows", "2", FORCE_COLOR="1", TERM="xterm")
    assert "\x1b[32m<|im_end|>\x1b[0m\x1b[32m↵" in output
    assert "\x1b[2m<|im_start|>\x1b[0m" in output
    assert "Snack" not in output
    assert "line 2: turn 2 (assistant) contains the control string '<|im_end|>'" in output


def test_a_flag_overrides_the_file(folder):
    shown = json.loads(run(folder, "--json", "--rows", "1", "--set", "data.instruction=Be brief."))
    assert "Be brief." in "".join(shown[0]["tokens"])


def test_the_command_imports_nothing_heavy():
    heavy = "{'torch', 'transformers', 'prefect', 'mlflow'}"
    code = f"import sys, stepladder.flows.commands.preview; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
