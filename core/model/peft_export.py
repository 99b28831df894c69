"""An adapter as the PEFT library reads it, and whether vLLM would take it too.

Written is what PEFT 0.21 writes: the adapter named `default` at the root of the folder, its tensors
contiguous and each by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ..method import PeftAdapter
from .locate import BaseRef

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FORMAT_VERSION = "0.21.2"
# vLLM: the ranks that its memory can be laid out for, and the one that it is laid out for by default.
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
VLLM_DEFAULT_RANK = 16


def write_peft(folder: Path, adapter: PeftAdapter, base: BaseRef) -> dict[str, Any]:
    """Write the adapter into the empty `folder`; returns its config."""
    config = {
        "auto_mapping": None,
        "base_model_name_or_path": _known_elsewhere(base),
        "inference_mode": True,
        "peft_version": FORMAT_VERSION,
        "revision": base.revision,
        "task_type": "CAUSAL_LM",
        **adapter.config,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True))
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in adapter.tensors.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    return config


def vllm_faults(config: Mapping[str, Any]) -> list[str]:
    """Why vLLM would refuse an adapter with this adapter_config.json, or compute something else with it."""
    if config["peft_type"] != "LORA":
        return [f"it loads LORA adapters alone, and this is {config['peft_type']}"]
    rank = config["r"]
    wrong = {
        "it knows no use_dora": config["use_dora"],
        f"it takes bias: none alone, not {config['bias']}": config["bias"] != "none",
        "it loads no modules_to_save": config["modules_to_save"],
        "it passes over rank_pattern and alpha_pattern": config["rank_pattern"] or config["alpha_pattern"],
        f"its rank is {rank}, of at most {VLLM_RANKS[-1]}": rank > VLLM_RANKS[-1],
    }
    return [fault for fault, found in wrong.items() if found]


def vllm_flag(config: Mapping[str, Any]) -> str:
    """What vLLM must be started with for an adapter that it takes; empty where nothing is needed."""
    if config["r"] <= VLLM_DEFAULT_RANK:
        return ""
    return f"--max-lora-rank {next(rank for rank in VLLM_RANKS if rank >= config['r'])}"


def _known_elsewhere(base: BaseRef) -> str:
    """What PEFT may load the base by: its hub id, else where it lies on this machine."""
    return base.name if base.revision is not None else base.path
