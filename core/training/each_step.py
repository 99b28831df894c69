"""What a method does at each step of its training, beside the optimizer's own step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class EachStep(Protocol):
    """Called by the training loop. What it remembers from step to step lies in its tensors."""

    def begin(self, steps: int) -> None:
        """Before the first of so many steps, or before the training goes on. Raises StepError."""

    def before(self) -> None:
        """The gradients are whole, and not clipped yet."""

    def after(self) -> None:
        """The optimizer has done its step; the gradients are still there."""

    def tensors(self) -> Mapping[str, Tensor]:
        """What a checkpoint keeps of it."""

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
