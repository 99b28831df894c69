"""One YAML file, checked whole before anything runs: `load_config` tells all its faults at once."""

from ..bases import DEFAULT_BASE
from .resolve import Resolved, load_config
from .schema import ChooseConfig, Config, DataConfig, EndpointConfig, Limit, RetainConfig

__all__ = [
    "DEFAULT_BASE",
    "ChooseConfig",
    "Config",
    "DataConfig",
    "EndpointConfig",
    "Limit",
    "Resolved",
    "RetainConfig",
    "load_config",
]
