"""LoRA on a CPU: our training loop against TRL's SFTTrainer with PEFT, one epoch of 64 Alpaca rows.

Both sides train the same tokens from the same initial weights, in the same batches and order, with the
same learning rates; a token counts once if it is a row's own, whatever padding or sharing a side does.
Timed is the loop alone. The gate: both adapters have the same loss on held-out rows, within 1 %.

    python benchmarks/lora_vs_trl.py [--quick]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import Figures, Work, conclude, heading, load, peers_python, read_rows, rows_folder, show, work
from safetensors.torch import load_file, save_file
from stepladder.core.model.base import Base, load_base
from stepladder.core.model.locate import DEFAULT_BASE, resolve_base
from stepladder.core.training.batch import summed_loss
from stepladder.core.training.loop import plan_batches
from stepladder.core.types import Encoded, Message
from stepladder.plugins.methods.lora import Lora
from transformers.trainer_pt_utils import LengthGroupedSampler

GOAL = 2.5
SAME = 0.01
LONGEST = 1500  # characters of a row
SIDES = ("ours", "TRL")
SETTINGS = Lora.Settings(
    rank=8,
    alpha=16,
    target=["q_proj", "v_proj"],
    epochs=1,
    batch_size=8,
    micro_batch_size=8,
    learning_rate=1e-3,
    warmup_share=0,
)


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rows: int
    rounds: int
    threads: int


# --- what is trained ---


def alpaca(base: Base, split: str, count: int) -> list[Encoded]:
    """The first `count` rows that are not overlong, in the base's own chat template."""
    rows = read_rows(rows_folder("alpaca") / f"{split}.jsonl")
    short = [row for row in rows if sum(map(len, row.values())) <= LONGEST]
    encoded = base.renderer.conversations([_turns(row) for row in short[:count]])
    return [row for row in encoded if isinstance(row, Encoded)]


def _turns(row: dict[str, str]) -> tuple[Message, Message]:
    question = "\n\n".join(part for part in (row["instruction"], row["input"]) if part)
    return Message("user", question), Message("assistant", row["output"])


def orders(rows: Sequence[Encoded]) -> dict[str, list[int]]:
    """Orders in which both sides take the rows.

    As they come; as TRL's length grouping draws them, which sorts within a few batches when rows are few;
    and sorted by length, which is what that grouping comes to when there are thousands of rows.
    """
    lengths = [len(row.tokens) for row in rows]
    generator = torch.Generator().manual_seed(0)
    grouped = LengthGroupedSampler(SETTINGS.batch_size, lengths=lengths, generator=generator)
    by_length = sorted(range(len(rows)), key=lambda index: lengths[index])
    return {"as drawn": list(range(len(rows))), "length-grouped": list(grouped), "sorted": by_length}


def padded(rows: Sequence[Encoded], order: Sequence[int]) -> int:
    """Tokens of the batches when each row is padded to the longest of its batch."""
    lengths = [len(rows[index].tokens) for index in order]
    batches = [lengths[i : i + SETTINGS.batch_size] for i in range(0, len(lengths), SETTINGS.batch_size)]
    return sum(max(batch) * len(batch) for batch in batches)


# --- measuring ---


def jobs(base: Base, rows: Sequence[Encoded], order: Sequence[int], size: Size) -> list[dict[str, Any]]:
    """One job for each side. Our loop shuffles, so its rows are given such that it meets the peer's order."""
    met = [index for batch in plan_batches(len(rows), SETTINGS).batches for index in batch]
    given = [order[met.index(place)] for place in range(len(rows))]
    return [
        {
            "base": name,
            "rows": [{"tokens": rows[i].tokens, "trained": rows[i].trained} for i in taken],
            "settings": SETTINGS.model_dump(),
            "threads": size.threads,
        }
        for name, taken in ((base.ref.name, given), (base.ref.path, order))
    ]


def measure(base: Base, rows: Sequence[Encoded], size: Size, folder: Path) -> dict[str, dict[str, Any]]:
    """For each order and side the results of all rounds, the sides taking turns."""
    initial, python = folder / "initial.safetensors", peers_python()
    write_initial(base, initial)
    results: dict[str, dict[str, Any]] = {name: {"ours": [], "TRL": []} for name in orders(rows)}
    for number in range(size.rounds):
        for name, order in orders(rows).items():
            ours, theirs = [{**job, "initial": str(initial)} for job in jobs(base, rows, order, size)]
            ours = work(sys.executable, "ours/train_lora.py", ours, place(folder, name, "ours", number))
            theirs = work(python, "peers/train_trl.py", theirs, place(folder, name, "TRL", number))
            results[name]["ours"].append(ours)
            results[name]["TRL"].append(theirs)
            seconds = f"ours {ours['seconds']:.1f} s, TRL {theirs['seconds']:.1f} s"
            print(f"round {number + 1}, {name}: {seconds} (load {load():.1f})", flush=True)
    return results


def place(folder: Path, order: str, side: str, number: int) -> Path:
    """Where one side's worker leaves its result and its weights."""
    return folder / order.replace(" ", "-") / f"{side}-{number}"


def write_initial(base: Base, path: Path) -> None:
    """The weights that both sides begin with."""
    trainable = Lora(SETTINGS).attach(base.model)
    save_file({name: p.detach() for name, p in trainable.parameters.items()}, path)
    trainable.detach()


def held_out_loss(base: Base, weights: Path, rows: Sequence[Encoded]) -> float:
    """The mean loss of a trained token, with an adapter of either side attached."""
    trainable = Lora(SETTINGS).attach(base.model)
    with torch.no_grad():
        for name, tensor in load_file(weights).items():
            trainable.parameters[name].copy_(tensor)
    loss, tokens = summed_loss(base, trainable, rows)
    trainable.detach()
    return loss / tokens


# --- reporting ---


def limit(base: Base, rows: Sequence[Encoded], gflops: float) -> float:
    """Tokens a second at the measured matrix-multiply rate, nothing shared and nothing padded."""
    lengths = [len(row.tokens) for row in rows]
    pairs = sum(n * (n + 1) // 2 for n in lengths)
    trained = sum(sum(row.trained) for row in rows)
    return sum(lengths) / (Work(base.model).lora(sum(lengths), pairs, trained) / (gflops * 1e9))


def line(order: str, side: str, tokens: int, sides: Mapping[str, Figures], loss: float) -> tuple[str, ...]:
    own, peer = sides[side], sides["TRL"]
    return (
        order,
        side,
        f"{own.seconds:.1f}",
        f"{own.cpu_seconds:.1f}",
        f"{tokens / own.seconds:.0f}",
        f"{peer.seconds / own.seconds:.2f}",
        f"{peer.cpu_seconds / own.cpu_seconds:.2f}",
        f"{own.peak_gigabytes:.1f}",
        f"{loss:.4f}",
    )


def report(base: Base, rows: Sequence[Encoded], results: Any, losses: Any) -> dict[str, float]:
    """Print the table; returns the ratio of tokens a second for each order."""
    tokens, trained = sum(len(row.tokens) for row in rows), sum(sum(row.trained) for row in rows)
    figures = {
        order: {side: Figures.of(rounds) for side, rounds in sides.items()}
        for order, sides in results.items()
    }
    show(
        ("batches", "side", "loop s", "CPU s", "tokens/s", "ratio", "CPU ratio", "peak GB", "held-out loss"),
        [
            line(order, side, tokens, sides, losses[order][side])
            for order, sides in figures.items()
            for side in SIDES
        ],
    )
    paddings = ", ".join(f"{name} {padded(rows, order)}" for name, order in orders(rows).items())
    gflops = max(result["matmul_gflops"] for sides in results.values() for result in sides["ours"])
    print(f"{len(rows)} rows, {tokens} tokens, {trained} of them trained; padded: {paddings}")
    most = limit(base, rows, gflops)
    print(f"matrix multiply {gflops:.0f} GFLOP/s, so at most {most:.0f} tokens/s with nothing shared")
    return {order: sides["TRL"].seconds / sides["ours"].seconds for order, sides in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="16 rows, one round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of either side")
    arguments = parser.parse_args()
    size = Size(*((16, 1) if arguments.quick else (64, 3)), arguments.threads)
    base = load_base(resolve_base(DEFAULT_BASE, Path()))
    rows, held_out = alpaca(base, "train", size.rows), alpaca(base, "test", size.rows)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        results = measure(base, rows, size, folder)
        losses = {
            order: {
                side: held_out_loss(base, place(folder, order, side, 0) / "weights.safetensors", held_out)
                for side in SIDES
            }
            for order in results
        }
        before = held_out_loss(base, folder / "initial.safetensors", held_out)
    first = results["as drawn"]
    versions = {**first["ours"][0]["versions"], **first["TRL"][0]["versions"]}
    heading("LoRA, one epoch: Stepladder against TRL + PEFT", versions)
    ratios = report(base, rows, results, losses)
    print(f"held-out loss before training {before:.4f}")
    same = all(abs(loss["ours"] - loss["TRL"]) <= SAME * loss["TRL"] for loss in losses.values())
    conclude(ratios, GOAL, same)


if __name__ == "__main__":
    main()
