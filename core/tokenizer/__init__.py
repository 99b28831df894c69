"""Text to tokens and training masks: the one renderer that trains, scores and generates."""

from .reader import Reader
from .renderer import Renderer

__all__ = ["Reader", "Renderer"]
