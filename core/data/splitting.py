"""Which rows are kept: repeats, leaks, the validation share and the limits, from the rows' keys alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .account import Account
from .identity import Keys, ranks_within

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Limits:
    """The most rows that each split keeps; None for all."""

    train: int | None = None
    validation: int | None = None
    test: int | None = None

    def held_out(self, share: float) -> int | None:
        """Of validation rows that are a share of train: by default as many as keeps the share what it is."""
        if self.validation is not None or not self.train:
            return self.validation
        return max(1, round(self.train * share / (1 - share)))


@dataclass(frozen=True)
class Side:
    """One split: which of the file's readable rows it keeps, and which it would keep without a limit.

    Both masks have the shape [rows].
    """

    kept: Mask
    usable: Mask
    account: Account


def split_train(
    keys: Keys, others: Sequence[Keys], share: float, limits: Limits, stratified: bool
) -> tuple[Side, Side]:
    """The training rows, and the validation rows held out of them (none where `share` is 0).

    In this order a row goes as a repeat of an earlier one, as a leak (its input is that of a row in
    `others`), to validation, or as one over the limit.
    """
    repeated = _repeated(keys)
    leaked = _leaked(keys, others) & ~repeated
    held_out = (keys["side"] < np.uint64(int(share * 2**64))) & ~repeated & ~leaked
    rest = ~(repeated | leaked | held_out)
    kept = within_limit(keys, rest, limits.train, stratified)
    account = Account(
        read=len(keys),
        kept=_count(kept),
        duplicates=_count(repeated),
        leaked=_count(leaked),
        held_out=_count(held_out),
        over_limit=_count(rest & ~kept),
    )
    return Side(kept, rest, account), _held_out_side(keys, held_out, limits.held_out(share), stratified)


def split_other(keys: Keys, others: Sequence[Keys], limit: int | None, stratified: bool) -> Side:
    """The rows of a validation or test file: repeats are counted and kept."""
    leaked = _leaked(keys, others)
    kept = within_limit(keys, ~leaked, limit, stratified)
    account = Account(
        read=len(keys),
        kept=_count(kept),
        duplicates=_count(_repeated(keys)),
        leaked=_count(leaked),
        over_limit=_count(~leaked & ~kept),
    )
    return Side(kept, ~leaked, account)


def within_limit(keys: Keys, candidates: Mask, limit: int | None, stratified: bool) -> Mask:
    """At most `limit` of the candidates, the same ones in whatever order the rows stand.

    Stratified, each answer has one row before any has two, and then its share; a smaller limit takes a
    part of what a larger one takes.
    """
    if limit is None or _count(candidates) <= limit:
        return candidates
    places = np.flatnonzero(candidates)
    chosen = keys[places]
    draws = np.lexsort((chosen["row"], chosen["order"], _turn(chosen) if stratified else chosen["order"]))
    kept = np.zeros(len(keys), np.bool_)
    kept[places[draws[:limit]]] = True
    return kept


def _turn(keys: Keys) -> npt.NDArray[np.float64]:
    """When a row's turn comes, from 0 to 1: the k-th of n rows of an answer at k / n. Shape [rows]."""
    _, answers, counts = np.unique(keys["answer"], return_inverse=True, return_counts=True)
    ranks = ranks_within(keys["answer"], keys["order"])
    return np.asarray(ranks / counts[answers], np.float64)


def _held_out_side(keys: Keys, held_out: Mask, limit: int | None, stratified: bool) -> Side:
    kept = within_limit(keys, held_out, limit, stratified)
    read = _count(held_out)
    return Side(kept, held_out, Account(read=read, kept=_count(kept), over_limit=read - _count(kept)))


def _repeated(keys: Keys) -> Mask:
    """Rows that an equal row stands before."""
    first = np.unique(keys["row"], return_index=True)[1]
    repeated = np.ones(len(keys), np.bool_)
    repeated[first] = False
    return repeated


def _leaked(keys: Keys, others: Sequence[Keys]) -> Mask:
    """Rows whose input is that of a row of another split."""
    leaked = np.zeros(len(keys), np.bool_)
    for other in others:
        leaked |= np.isin(keys["input"], other["input"])
    return leaked


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))
