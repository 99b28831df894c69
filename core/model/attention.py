"""Attention over a packed tree on a CPU: each block of tokens against the keys that some of it sees.

A tree's mask is mostly closed, since no branch sees another, yet a dense kernel multiplies all T x T pairs.
The tree is in depth-first order, so of the tokens before a block only those whose subtree reaches into it
are open: the path that leads there. Cut so, attention costs about T x (depth + block).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .tree import Tree

NAME = "stepladder_tree"
BLOCK = 128  # measured: 64 to 256 are alike


@dataclass(frozen=True)
class Block:
    """Packed tokens from `start` to before `end`, and the indices of the keys they need, in order."""

    start: int
    end: int
    keys: Tensor


def cut(tree: Tree, root: int = 0) -> list[Block]:
    """The tree's blocks; the keys of `root` tokens that stand before the tree are seen by all."""
    before = torch.arange(root)
    blocks = []
    for start in range(0, len(tree), BLOCK):
        end = min(start + BLOCK, len(tree))
        path = (tree.last[:start] >= start).nonzero()[:, 0]
        blocks.append(Block(start, end, torch.cat([before, path + root, torch.arange(start, end) + root])))
    return blocks


def use_tree_attention(model: Any) -> bool:
    """Let the model's attention go by blocks where it is asked to; whether this model can be asked."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.device.type != "cpu" or model.config._attn_implementation != "sdpa":
        return False
    AttentionInterface.register(NAME, tree_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
    return True


def tree_arguments(model: Any, tree: Tree, root: int) -> dict[str, Any]:
    """What to call the model with, besides the tree itself, so that it attends by blocks if it can."""
    return {"tree_blocks": cut(tree, root)} if model.config._attn_implementation == NAME else {}


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    tree_blocks: Sequence[Block] | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """query [1, heads, T, D], key and value [1, key heads, root + T, D], mask [1, 1, T, root + T].

    Without blocks, transformers' own attention. Returns [1, T, heads, D].
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if tree_blocks is None:
        usual: tuple[Tensor, None]
        usual = sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
        return usual
    if any(settings.get(name) is not None for name in ("softcap", "position_bias", "s_aux")):
        raise ValueError("blocks of a tree know no soft cap, position bias or sink")
    assert attention_mask is not None, "a tree comes with its mask"
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            query[:, :, block.start : block.end],
            key.index_select(2, block.keys),
            value.index_select(2, block.keys),
            attention_mask[:, :, block.start : block.end].index_select(3, block.keys),
            scale=settings.get("scaling"),
            enable_gqa=query.shape[1] != key.shape[1],
        )
        for block in tree_blocks
    ]
    return torch.cat(parts, 2).transpose(1, 2).contiguous(), None
