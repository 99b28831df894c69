"""What an engine tells of a run while it goes: a node started, a line of its log, a node ended."""

from __future__ import annotations

from typing import Protocol

from rich.console import Console
from rich.text import Text

from ..core.steps.execute import Outcome
from ..core.steps.graph import Node


class Watcher(Protocol):
    """Called by an engine from one thread at a time."""

    def started(self, node: Node) -> None: ...

    def line(self, node: Node, text: str) -> None: ...

    def ended(self, node: Node, outcome: Outcome) -> None: ...


class Silence:
    """Nobody looks on."""

    def started(self, node: Node) -> None: ...

    def line(self, node: Node, text: str) -> None: ...

    def ended(self, node: Node, outcome: Outcome) -> None: ...


class ConsoleWatcher:
    """One line for each node as it ends, and the lines of its log, dimmed, while it works."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def started(self, node: Node) -> None:
        self._print(f"  {node.title} …", "dim")

    def line(self, node: Node, text: str) -> None:
        self._print(f"    {node.title} | {text}", "dim")

    def ended(self, node: Node, outcome: Outcome) -> None:
        self._print(*_described(node, outcome))

    def _print(self, text: str, style: str) -> None:
        self.console.print(Text(text, style=style), soft_wrap=True)


def _described(node: Node, outcome: Outcome) -> tuple[str, str]:
    """The line for an ended node, and its style."""
    if outcome.status == "ok":
        return f"✓ {node.title}  {outcome.seconds:.1f} s", "green"
    if outcome.status == "reused":
        return f"✓ {node.title}  done before", "green"
    why = outcome.failure.message if outcome.failure else ""
    if outcome.status == "skipped":
        return f"- {node.title}  {why}", "yellow"
    return f"✗ {node.title}  {why}", "red"
