"""PEFT: any tuner of the PEFT library, by its name and with its own settings.

Mangrulkar et al. 2022, "PEFT: State-of-the-art Parameter-Efficient Fine-Tuning methods". A tuner puts layers
of its own in the place of some of the base's; training, evaluation and registration are as for any rung.
Left out are tuners whose result depends on more than a token and those before it. Dropout is off, since
tokens are shared by rows. AdaLoRA (Zhang et al. 2023, arXiv:2303.10512) shares out its ranks anew at each
step of the training, and adds its equation 4 to the loss.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from functools import partial
from typing import Any, get_type_hints

import torch
from pydantic import BaseModel, ConfigDict, create_model
from pydantic import Field as Setting
from torch import nn

from ...core.config.faults import validate
from ...core.errors import ModelError, StepError, did_you_mean
from ...core.hookspecs import hookimpl
from ...core.method import Data, Method, PeftAdapter, Trainable, Weights
from ...core.model.architecture import skeleton
from ...core.model.base import Base
from ...core.model.engine import TreeEngine, agrees
from ...core.model.gradient import GradientMethod
from ...core.model.layers import last_name, replace_modules

INSTALL = "needs the PEFT library: pip install 'stepladder[peft]'"
# Fields of PEFT's configs that say where an adapter is from, not what it is.
OURS = (
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "peft_type",
    "peft_version",
    "revision",
    "runtime_config",
    "task_type",
)
KEYS_AND_VALUES = ("ADAPTION_PROMPT", "CARTRIDGE", "PREFIX_TUNING")
ADALORA, TOTAL, PATTERN = "ADALORA", "total_step", "rank_pattern"
MIXED = "what it says of a token depends on tokens of other rows or on more than tokens"
REFUSED = dict.fromkeys(("LILY", "POLY", "SHADOW", "XLORA"), MIXED)
# Kept where names of modules are no list: an expression, or PEFT's own word for all linear layers.
NAMES = ("target_modules", "feedforward_modules", "modules_to_save")


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [Peft]


def tuners() -> Mapping[str, type[Any]]:
    """The configs of all tuners of the installed PEFT, by name."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return {kind.value: config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}


def tuner_name(name: str) -> str:
    """PEFT's spelling: `LN-tuning` is LN_TUNING."""
    return name.upper().replace("-", "_")


def tuner_fault(name: str) -> str | None:
    """Why the tuner of this name cannot be used here; None if it can."""
    known = tuners()
    if name not in known:
        return f"there is no tuner {name!r}{did_you_mean(name, known)}: PEFT has {', '.join(sorted(known))}"
    if name in REFUSED:
        return f"{name} cannot run here: {REFUSED[name]}"
    return _prompt_fault(name, known[name])


def _prompt_fault(name: str, config: type[Any]) -> str | None:
    from peft import PromptLearningConfig

    if name not in KEYS_AND_VALUES and not issubclass(config, PromptLearningConfig):
        return None
    return f"{name} learns a prompt: use the method {'prefix' if name in KEYS_AND_VALUES else 'soft_prompt'}"


def settings_model(config: type[Any]) -> type[BaseModel]:
    """The settings that a tuner's config takes, with their types, as our own checks read them."""
    hints = get_type_hints(config)
    declared = {
        field.name: (hints[field.name] | None, _default(field))
        for field in fields(config)
        if field.name not in (*OURS, TOTAL)
    }
    strict = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    model: type[BaseModel] = create_model(config.__name__, __config__=strict, **declared)  # type: ignore[call-overload]
    return model


def _default(field: Field[Any]) -> Any:
    return ... if field.default is MISSING and field.default_factory is MISSING else None


def settings_faults(name: str, given: Mapping[str, Any]) -> list[str]:
    """What is wrong with a tuner's settings, whatever the base."""
    _, faults = validate(settings_model(tuners()[name]), dict(given), "settings")
    dropped = [key for key, value in given.items() if "dropout" in key and value]
    off = [f"settings.{key}: expected 0: dropout is off, since tokens are shared by rows" for key in dropped]
    return (
        [f"{fault.place}: {fault.text}" for fault in faults]
        + off
        + (ranks_faults(given) if name == ADALORA else [])
    )


def ranks_faults(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the ranks of AdaLoRA, of which there must be more at first than in the end."""
    first, last = (given.get(key) or default for key, default in (("init_r", 12), ("target_r", 8)))
    return [] if last < first else [f"settings.target_r: expected fewer than init_r, {first}; found {last}"]


def names_faults(model: nn.Module, given: Mapping[str, Any]) -> Iterator[str]:
    """Names in the settings that no module of the base has."""
    paths = [path for path, _ in model.named_modules() if path]
    last = sorted({last_name(path) for path in paths if not last_name(path).isdigit()})
    for key in NAMES:
        for name in given[key] if isinstance(given.get(key), list) else ():
            if not any(f".{path}".endswith(f".{name}") for path in paths):
                near = did_you_mean(name, last)
                yield f"settings.{key}: this base has no module {name!r}{near}; it has {', '.join(last)}"


def attach_fault(name: str, given: Mapping[str, Any], model: Any) -> str | None:
    """What PEFT says against these settings on a base without weights; None where it takes them."""
    try:
        inject(name, given, model)
    except NotImplementedError:
        return None  # it asks for the weights themselves
    except Exception as error:  # whatever another library raises at settings that it does not check
        return f"PEFT refuses: {type(error).__name__}: {error}"
    head = model.get_output_embeddings()
    if head is not None and any(True for _ in head.children()):
        return "settings: the language head is computed apart from the layers: leave it out"
    return None


def inject(name: str, given: Mapping[str, Any], model: Any) -> Any:
    """PEFT's model around ours, in which the tuner's layers lie now."""
    from peft import get_peft_model

    return get_peft_model(model, tuners()[name](**given, **known_later(name, given)))


def known_later(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a tuner's config asks for that the training loop will say."""
    if name != ADALORA:
        return {}
    return {TOTAL: (given.get("tinit") or 0) + (given.get("tfinal") or 0) + 1}


class Peft(GradientMethod):
    name = "peft"
    rung = 1.75
    summary = "any tuner of the PEFT library, such as IA3, VeRA or OFT"
    answers = ("label", "choose", "generate", "number", "likelihood")
    bases = ("causal", "encoder")
    libraries = ("peft",)

    class Settings(GradientMethod.Settings):
        learning_rate: float = Setting(2e-2, gt=0, description="fit for IA3; other tuners want their own")
        tuner: str = Setting("IA3", description="PEFT's name for it")
        settings: dict[str, Any] = Setting({}, description="the fields of that tuner's config in PEFT")

    settings: Settings

    @classmethod
    def base_fault(cls, settings: Any, model: Mapping[str, Any]) -> str | None:
        if importlib.util.find_spec("peft") is None:
            return INSTALL
        name, given = tuner_name(settings.tuner), settings.settings
        fault = tuner_fault(name)
        if fault:
            return f"tuner: {fault}"
        faults = settings_faults(name, given)
        base = skeleton(model)
        if base is not None:
            faults += names_faults(base, given)
            faults = faults or list(filter(None, [attach_fault(name, given, base)]))
        return "; ".join(faults) or None

    @property
    def tuner(self) -> str:
        return tuner_name(self.settings.tuner)

    def attach(self, model: Any) -> Trainable:
        from peft import get_peft_model_state_dict

        own = dict(model.named_modules())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            wrapped = inject(self.tuner, self.settings.settings, model)
        model.eval()
        learned = {each.data_ptr(): each for each in model.parameters() if each.requires_grad}
        state = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
        return Trainable(
            parameters={
                name: learned[each.data_ptr()] for name, each in state.items() if each.data_ptr() in learned
            },
            detach=partial(take_off, model, own),
            merge=partial(merge, wrapped, model) if can_merge(model) else None,
            frozen={name: each for name, each in state.items() if each.data_ptr() not in learned},
            each_step=RankSharing(wrapped.base_model) if self.tuner == ADALORA else None,
        )

    def start(self, base: Base, data: Data) -> Trainable:
        trainable = self.attach(base.model)
        if isinstance(base.engine, TreeEngine) and not agrees_disturbed(base.engine, trainable):
            raise ModelError(f"peft: {self.tuner} cannot run here: {MIXED}")
        return trainable

    def as_peft(self, weights: Weights, model: Mapping[str, Any]) -> PeftAdapter:
        given = self.settings.settings
        config = tuners()[self.tuner](**given, **known_later(self.tuner, given)).to_dict()
        mine = {name: in_json(value) for name, value in config.items() if name not in OURS}
        return PeftAdapter(config={**mine, "peft_type": self.tuner}, tensors=weights)


class RankSharing:
    """AdaLoRA's part of each step: its penalty before the optimizer's step, its budget of ranks after it."""

    MEMORY = ("ipt", "exp_avg_ipt", "exp_avg_unc")

    def __init__(self, adalora: Any) -> None:
        self.adalora = adalora
        self.config = adalora.peft_config[adalora.trainable_adapter_name]
        self.done = 0

    def begin(self, steps: int) -> None:
        first, last = self.config.tinit, self.config.tfinal
        if first + last >= steps:
            raise StepError(
                f"peft: AdaLoRA lowers its ranks between the first tinit={first} and the last tfinal={last} "
                f"steps, but the training has {steps} steps: train for more, or lower them"
            )
        self.config.total_step = steps

    def before(self) -> None:
        (self.config.orth_reg_weight * self.penalty()).backward()

    def penalty(self) -> torch.Tensor:
        """Mean distance of P^T P and Q Q^T from the identity (equation 4), not squared, as PEFT has it."""
        distances = []
        for name, weight in self.adalora.model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                square = weight @ weight.T if "lora_A" in name else weight.T @ weight
                distances.append((square - torch.eye(len(square), device=square.device)).norm())
        return torch.stack(distances).mean()

    def after(self) -> None:
        self.done += 1
        self.adalora.update_and_allocate(self.done)

    def tensors(self) -> Mapping[str, torch.Tensor]:
        allocator, pattern = self.adalora.rankallocator, self.config.rank_pattern or {}
        return {
            "done": torch.tensor(self.done),
            **{
                f"{kind}:{name}": each
                for kind in self.MEMORY
                for name, each in getattr(allocator, kind).items()
            },
            **{f"{PATTERN}:{name}": torch.tensor(each) for name, each in pattern.items()},
        }

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        kept: dict[str, dict[str, torch.Tensor]] = {}
        for key, each in tensors.items():
            kind, _, name = key.partition(":")
            kept.setdefault(kind, {})[name] = each
        device = next(self.adalora.parameters()).device
        self.done = int(tensors["done"])
        for kind in self.MEMORY:
            setattr(
                self.adalora.rankallocator,
                kind,
                {n: each.to(device) for n, each in kept.get(kind, {}).items()},
            )
        self.config.rank_pattern = {name: each.tolist() for name, each in kept.get(PATTERN, {}).items()}


def in_json(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


@torch.no_grad()
def agrees_disturbed(engine: TreeEngine, trainable: Trainable) -> bool:
    """Whether rows that share tokens are read as they are alone, with other weights than those of the start,
    at which most tuners change nothing.
    """
    generator = torch.Generator().manual_seed(0)
    before = {name: each.detach().clone() for name, each in trainable.parameters.items()}
    for parameter in trainable.parameters.values():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.add_(noise.to(parameter.device, parameter.dtype) * 0.1)
    agreed = agrees(engine)
    for name, parameter in trainable.parameters.items():
        parameter.copy_(before[name])
    return agreed


def take_off(model: nn.Module, own: Mapping[str, nn.Module]) -> None:
    """Put the base's own modules back, outer ones first."""
    for path, module in own.items():
        if path and model.get_submodule(path) is not module:
            replace_modules(model, {path: module})
    del model.peft_config


def can_merge(model: nn.Module) -> bool:
    """Whether one layer of each kind that the tuner has put in can fold itself into the weights, exactly."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not all(parameter.is_floating_point() for parameter in model.parameters()):
        return False  # they are quantised
    kinds = {type(module): module for module in model.modules() if isinstance(module, BaseTunerLayer)}
    return bool(kinds) and all(map(_merges, kinds.values()))


def _merges(layer: Any) -> bool:
    try:
        copy.deepcopy(layer).merge()
    except (NotImplementedError, ValueError, AttributeError, RuntimeError):
        return False  # by whichever of these the tuner says so
    return True


def merge(wrapped: Any, model: nn.Module) -> None:
    """Fold the tuner into the weights."""
    wrapped.merge_and_unload()
    model.requires_grad_(False)
