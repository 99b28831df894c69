"""One YAML file, checked whole before anything runs: `load_config` tells all its faults at once."""

from .resolve import Resolved, load_config
from .schema import DEFAULT_BASE, ChooseConfig, Config, DataConfig, Limit, RetainConfig

__all__ = [
    "DEFAULT_BASE",
    "ChooseConfig",
    "Config",
    "DataConfig",
    "Limit",
    "Resolved",
    "RetainConfig",
    "load_config",
]
