"""`stepladder export`: a fitted candidate in a form that other tools load."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...core.errors import InputError

if TYPE_CHECKING:
    from ...core.training.children import Children

Format = Literal["peft", "merged"]
MODEL = "models:/NAME@alias, models:/NAME/VERSION, or a candidate's artifact folder"
FORMAT = "peft: an adapter for the PEFT library; merged: a whole model for transformers"


def export(
    model: Annotated[str, typer.Argument(help=MODEL)],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a new or empty folder")],
    form: Annotated[Format, typer.Option("--format", help=FORMAT)],
) -> None:
    """Write a candidate as PEFT or plain transformers load it, and prove it by loading it so."""
    from ...core.training.children import Children

    made = _open(folder)
    children = Children()
    place = Path(tempfile.mkdtemp(prefix=".export-", dir=folder))
    try:
        written = _write(model, form, folder, place, children)
        typer.echo(_what_is_there(folder, form, written))
        typer.echo(_prove(form, folder, written, children))
    finally:
        children.stop()
        shutil.rmtree(place, ignore_errors=True)
        if made and not any(folder.iterdir()):
            folder.rmdir()


def _open(folder: Path) -> bool:
    """Make the folder; whether it was not there. Raises InputError unless it is new or empty."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"export: {folder}: expected a new or an empty folder, found a file: name another")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted(path.name for path in folder.iterdir())
    if found:
        raise InputError(
            f"export: {folder}: expected a new or an empty folder, found {len(found)} files in it, at first "
            f"{found[0]}: name another"
        )
    return made


def _write(model: str, form: Format, folder: Path, place: Path, children: Children) -> Mapping[str, Any]:
    """Write beside the final place and move what is whole there: a killed export looks like none."""
    from ..single import do_step

    spec = {"model": model, "format": form, "place": str(place.absolute())}
    written = do_step("export", spec, typer.echo, children)
    for path in sorted(Path(written["export"]).iterdir()):
        path.rename(folder / path.name)
    return written


def _prove(form: Format, folder: Path, written: Mapping[str, Any], children: Children) -> str:
    """What loading it showed. It takes as much memory as its users need, so it is a child of its own."""
    from ..single import do_step

    spec = {
        "format": form,
        "export": str(folder.absolute()),
        "artifact": written["artifact"],
        "base": written["base"],
    }
    proof = do_step("prove_export", spec, typer.echo, children)
    if proof["loaded_by"] is None:
        return f"not loaded, since {form} is not installed here: pip install {form}"
    return (
        f"loaded by {proof['loaded_by']}: its logits differ from the candidate's by at most "
        f"{proof['largest_logit_difference']:.2e} over {proof['tokens']} tokens, and from the base's by "
        f"{proof['largest_difference_to_base']:.2e}"
    )


def _what_is_there(folder: Path, form: Format, written: Mapping[str, Any]) -> str:
    lines = [f"{written['method']} as {form}: {folder} ({written['bytes']:,} bytes)"]
    if form == "peft":
        lines.append(_vllm(written["vllm"]))
    return "\n".join(lines)


def _vllm(vllm: Mapping[str, Any]) -> str:
    if vllm["faults"]:
        return f"vLLM would not take it: {'; '.join(vllm['faults'])}"
    return f"vLLM takes it, started with {vllm['flag']}" if vllm["flag"] else "vLLM takes it"
