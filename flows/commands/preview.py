"""`stepladder preview`: the first training rows as tokens, the trained ones in green.

The rows take the run's own steps, `read` and `render`, in a folder that is thrown away.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ...core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ...core.config import Resolved
    from ...core.types import Encoded

TRAINED, MASKED = "green", "dim"


def preview(
    config: Annotated[Path, typer.Argument(help="the run's YAML file")],
    rows: Annotated[int, typer.Option(min=1, help="how many training rows to show")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="a list of {id, tokens, trained}")] = False,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value over the file")] = None,
) -> None:
    """Show what the model reads of the first training rows, and which tokens it is trained to write."""
    from ...core.config import load_config

    resolved = load_config(config, overrides or [])
    with tempfile.TemporaryDirectory(prefix="stepladder-preview-") as folder:
        shown, left_out = _rendered(resolved, Path(folder), rows)
    if as_json:
        typer.echo(json.dumps(shown, ensure_ascii=False, indent=2))
        return
    console = Console()
    for row in shown:
        console.print(_coloured(row), soft_wrap=True)
    for reason in left_out:
        console.print(Text(f"left out: {reason}", style="yellow"), soft_wrap=True)


def _rendered(resolved: Resolved, folder: Path, rows: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The first rows of train as {id, tokens, trained}, and why those of them that are missing are."""
    from transformers import AutoTokenizer

    from ...core.bases import is_endpoint
    from ...core.data.store import load_split
    from ...core.model.locate import resolve_base
    from ...core.steps import read, render

    if resolved.config.base is None:
        raise InputError(f"the task {resolved.config.task} has no base, so its rows have no tokens to show")
    base = resolve_base(resolved.config.base, resolved.folder)
    if is_endpoint(base.name):
        raise InputError(f"{base.name} is an endpoint: its tokenizer is not here, so no tokens can be shown")
    spec = {"config": resolved.config.model_dump(mode="json"), "base": base.to_json()}
    everything, first, rendered = (_folder(folder / name) for name in ("read", "first", "rendered"))
    read.read_rows({**spec, "needs": {}}, everything, partial(typer.echo, err=True))
    _keep_first(everything, first, rows)
    render.run({**spec, "needs": {"read": str(first)}}, rendered)
    split = load_split(rendered / "train")
    tokenizer = AutoTokenizer.from_pretrained(base.path, trust_remote_code=False)
    shown = [_row(split.example(i).id, split.encoded(i), tokenizer) for i in range(len(split))]
    return shown, list(_reasons(rendered, after=_lines(everything)))


def _keep_first(read: Path, folder: Path, rows: int) -> None:
    """What the step `read` left, with the first rows of each split only: the labels stay those of all."""
    from ...core.data.account import ACCOUNT_FILE, QUARANTINE_FILE, load_accounts
    from ...core.data.store import EXAMPLE_FEATURES, SCHEMA_FILE, SplitWriter, record_batches

    for name in (ACCOUNT_FILE, QUARANTINE_FILE, SCHEMA_FILE):
        shutil.copyfile(read / name, folder / name)
    for split in load_accounts(read):
        with SplitWriter(folder / split, EXAMPLE_FEATURES) as writer:
            left = rows
            for batch in record_batches(read / split):
                writer.write(batch.slice(0, left))
                left = max(0, left - batch.num_rows)


def _reasons(rendered: Path, after: int) -> Iterator[str]:
    from ...core.data.account import QUARANTINE_FILE

    lines = (rendered / QUARANTINE_FILE).read_text(encoding="utf-8").splitlines()
    for fault in map(json.loads, lines[after:]):
        if fault["split"] == "train":
            yield f"{fault['file']} line {fault['line']}: {fault['reason']}"


def _lines(read: Path) -> int:
    from ...core.data.account import QUARANTINE_FILE

    return len((read / QUARANTINE_FILE).read_text(encoding="utf-8").splitlines())


def _row(row_id: str, encoded: Encoded, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    return {"id": row_id, "tokens": _spell(encoded.tokens, tokenizer), "trained": list(encoded.trained)}


def _spell(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Each token as text; together they are the row's text. Of a character's tokens the last one shows it."""
    from tokenizers.decoders import DecodeStream

    if not tokenizer.is_fast:
        return list(tokenizer.convert_ids_to_tokens(list(ids)))
    stream = DecodeStream(skip_special_tokens=False)
    return [stream.step(tokenizer.backend_tokenizer, token) or "" for token in ids]


def _coloured(row: Mapping[str, Any]) -> Text:
    count = sum(row["trained"])
    text = Text().append(f"row {row['id']}: {len(row['tokens'])} tokens, {count} trained\n", style="bold")
    for token, trained in zip(row["tokens"], row["trained"], strict=True):
        text.append(token.replace("\n", "↵\n"), style=TRAINED if trained else MASKED)
    return text


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
