"""Which plugins there are, and what they give: methods, tasks, sources, metrics, decoders, scorers, gates.

`discover` imports every plugin and returns a Registry; `listing` answers from a cache without importing
any. One plugin that is broken is reported and left out; it never hurts the others.
"""

from .found import Found, PluginInfo
from .listing import Listing, MethodLine, listing
from .registry import Registry, discover

__all__ = ["Found", "Listing", "MethodLine", "PluginInfo", "Registry", "discover", "listing"]
