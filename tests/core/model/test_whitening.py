"""Whitening by what rows of one label differ in."""

import torch
from stepladder.core.model.features import SHRINKAGE, whitening

LABELS = ["red", "blue", "red", "blue", "red", "blue", "blue"]


def test_after_it_rows_of_a_label_differ_by_as_much_in_every_direction():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(7, 3, generator=generator, dtype=torch.float64) * torch.tensor([9.0, 1.0, 0.1])
    shift = torch.tensor([[100.0, -50.0, 7.0] if label == "red" else [0.0, 0.0, 0.0] for label in LABELS])
    red = torch.tensor([label == "red" for label in LABELS])
    within = [rows[which] - rows[which].mean(0) for which in (red, ~red)]
    scatter = sum(each.T @ each for each in within) / len(rows)
    shrunk = scatter + SHRINKAGE * scatter.trace() / 3 * torch.eye(3)
    found = whitening(rows + shift, LABELS)
    assert torch.allclose(found @ shrunk @ found, torch.eye(3, dtype=torch.float64))
