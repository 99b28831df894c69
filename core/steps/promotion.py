"""A promotion as a graph of four steps, walked by the same engines as a run.

contest → rescore → judge → promote: find challenger and champion, let both answer the same rows, ask the
gates, move the alias. Nothing of it is reused: what they ask of the registry may be another thing tomorrow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from .graph import Graph, Node

NEEDS = {
    "contest": (),
    "rescore": ("contest",),
    "judge": ("contest", "rescore"),
    "promote": ("contest", "judge"),
}


def promotion_graph(promotion: Mapping[str, Any]) -> Graph:
    """The steps of one promotion: its name, version, to, gates and token are the same for all of them.

    Their folders are those of the last promotion to the same name.
    """
    name = promotion["to"] or promotion["name"]
    nodes = [
        Node(
            id=kind,
            kind=kind,
            title=kind,
            needs=needs,
            spec={"promotion": dict(promotion)},
            fingerprint=hashlib.sha256(f"{kind} {name}".encode()).hexdigest(),
            reusable=False,
        )
        for kind, needs in NEEDS.items()
    ]
    return Graph(tuple(nodes))
