"""Exports, loaded as their users load them: by PEFT and by plain transformers, with equal logits."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from stepladder.core.discovery import Registry
from stepladder.core.errors import InputError, ModelError
from stepladder.core.method import Prompt
from stepladder.core.model.adapter import Description, build_method, read_schema, write_adapter
from stepladder.core.model.base import load_base
from stepladder.core.model.locate import resolve_base
from stepladder.core.model.merged_export import INDEX, write_merged
from stepladder.core.model.peft_export import vllm_faults, vllm_flag
from stepladder.core.model.worded import Worded
from stepladder.core.steps import export, prove_export
from stepladder.plugins.methods.lora import Lora
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

SHAPE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "initializer_range": 0.12,
    "max_position_embeddings": 128,
}
GROUPED: dict[str, Any] = SHAPE | {"num_key_value_heads": 2, "intermediate_size": 48, "head_dim": 12}
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", GROUPED),
    "tied": ("llama", GROUPED | {"tie_word_embeddings": True}),
    "gpt2": ("gpt2", SHAPE),
    "mistral": ("mistral", GROUPED | {"sliding_window": 5}),
}
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 4},
    "soft_prompt": {"length": 6},
    "prefix": {"length": 7},
}
EVERY_LINEAR = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
}
SCHEMA = {"task": "classify", "instruction": "which colour ?", "labels": ["blue", "red"]}

Make = Callable[..., Path]


@pytest.fixture
def make_base(tmp_path: Path, word_tokenizer: Any, on_the_cpu: None) -> Make:
    """Saves a random base as a folder; `shards` as in save_pretrained's max_shard_size."""

    def make(kind: str, dtype: torch.dtype = torch.float32, shards: str = "1GB", **changed: Any) -> Path:
        family, settings = BASES[kind]
        folder = tmp_path / f"base-{kind}"
        special = {name: getattr(word_tokenizer, name) for name in ("bos_token_id", "eos_token_id")}
        torch.manual_seed(1)
        config = AutoConfig.for_model(family, **settings | special | changed)
        model = AutoModelForCausalLM.from_config(config).to(dtype)
        model.save_pretrained(folder, max_shard_size=shards)
        word_tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def make_artifact(tmp_path: Path, registry: Registry) -> Make:
    """A candidate as a fit leaves it, what it learned being noise."""

    def make(base_folder: Path, name: str, **settings: Any) -> Path:
        base = load_base(resolve_base(str(base_folder), Path.cwd()))
        method = build_method(name, METHODS.get(name, {}) | settings, registry)
        trainable = method.attach(base.model) if hasattr(method, "attach") else None
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in trainable.parameters.values() if trainable else ():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        worded = Worded(base, read_schema(SCHEMA, registry), Prompt(), method, trainable)
        about = Description(
            name, METHODS.get(name, {}) | settings, "test", "0", base.ref.name, base.ref.fingerprint, SCHEMA
        )
        folder = tmp_path / f"artifact-{name}"
        write_adapter(folder, worded, about)
        return folder

    return make


@pytest.fixture
def exported(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The two steps, one after the other."""

    def run(artifact: Path | str, form: str) -> dict[str, Any]:
        place = tmp_path / f"place-{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        written = export.run({"model": str(artifact), "format": form, "place": str(place)}, tmp_path)
        return written | prove_export.run({**written, "format": form}, tmp_path)

    return run


# --- as PEFT loads it ---


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral"])
@pytest.mark.parametrize("name", METHODS)
def test_peft_says_what_the_candidate_says(make_base, make_artifact, exported, name: str, kind: str):
    result = exported(make_artifact(make_base(kind), name), "peft")
    assert result["loaded_by"] == f"peft {peft.__version__}"
    assert result["tokens"] > 5
    assert result["largest_logit_difference"] < 1e-4
    assert result["largest_difference_to_base"] > 0.1


def of_peft(name: str, base: Any, settings: dict[str, Any]) -> peft.PeftConfig:
    if name == "soft_prompt":
        return peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=settings["length"])
    if name == "prefix":
        return peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=settings["length"])
    grouped = base.config.model_type == "llama"
    return peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=settings["rank"],
        lora_alpha=16,
        target_modules=["q_proj", "v_proj"] if grouped else ["c_attn"],
        fan_in_fan_out=not grouped,
    )


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("name", METHODS)
def test_keys_shapes_and_settings_are_those_that_peft_saves(
    make_base, make_artifact, exported, tmp_path, name: str, kind: str
):
    folder = make_base(kind)
    ours = Path(exported(make_artifact(folder, name), "peft")["export"])
    base = AutoModelForCausalLM.from_pretrained(folder)
    peft.get_peft_model(base, of_peft(name, base, METHODS[name])).save_pretrained(tmp_path / "theirs")

    def shapes(of: Path) -> dict[str, torch.Size]:
        tensors = load_file(of / "adapter_model.safetensors")
        return {key: tensor.shape for key, tensor in tensors.items()}

    assert shapes(ours) == shapes(tmp_path / "theirs")
    with safe_open(ours / "adapter_model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    said, expected = (
        json.loads((of / "adapter_config.json").read_text()) for of in (ours, tmp_path / "theirs")
    )
    assert sorted(said) == list(said)
    assert said.keys() <= expected.keys()
    assert "runtime_config" not in said
    for each in (said, expected):
        each["target_modules"] = sorted(each.get("target_modules", ()))
    assert said == {key: expected[key] for key in said}


def test_peft_takes_every_kind_of_layer_and_the_scale_of_rslora(make_base, make_artifact, exported):
    for kind, layers in EVERY_LINEAR.items():
        artifact = make_artifact(make_base(kind), "lora", target=layers, rslora=True, alpha=6.5)
        result = exported(artifact, "peft")
        assert result["largest_logit_difference"] < 1e-4 < 0.1 < result["largest_difference_to_base"]
        for file in artifact.iterdir():
            file.unlink()
        artifact.rmdir()


@pytest.mark.parametrize(
    "settings, rank, alpha",
    [
        ({"dora": True}, 4, 16),
        ({"initial": "pissa"}, 8, 32),
        ({"initial": "pissa", "rslora": True, "dora": True, "alpha": 2}, 8, pytest.approx(2 * 2**0.5)),
        ({"target": "attention"}, 4, 16),
    ],
    ids=["dora", "pissa", "pissa with dora and rslora", "attention"],
)
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_variants_of_lora_are_loaded_as_they_were_fitted(
    make_base, make_artifact, exported, kind: str, settings: dict[str, Any], rank: int, alpha: float
):
    artifact = make_artifact(make_base(kind), "lora", **settings)
    for form in ("peft", "merged"):
        result = exported(artifact, form)
        assert result["largest_logit_difference"] < 1e-4 < 0.1 < result["largest_difference_to_base"]
        if form == "peft":
            config = json.loads((Path(result["export"]) / "adapter_config.json").read_text())
            assert (config["r"], config["lora_alpha"]) == (rank, alpha)
            assert config["use_dora"] == settings.get("dora", False)
            assert bool(result["vllm"]["faults"]) == config["use_dora"]


def test_learned_lengths_have_the_names_that_peft_saves(make_base, make_artifact, exported, tmp_path):
    folder = make_base("llama")
    ours = Path(exported(make_artifact(folder, "lora", dora=True), "peft")["export"])
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], use_dora=True)
    base = AutoModelForCausalLM.from_pretrained(folder)
    peft.get_peft_model(base, config).save_pretrained(tmp_path / "theirs")
    saved = (load_file(of / "adapter_model.safetensors") for of in (ours, tmp_path / "theirs"))
    first, second = ({name: tensor.shape for name, tensor in each.items()} for each in saved)
    assert first == second


def test_grouped_heads_are_those_of_keys_and_values(make_base, make_artifact, exported):
    folder = Path(exported(make_artifact(make_base("llama"), "prefix"), "peft")["export"])
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["token_dim"], config["num_attention_heads"], config["num_layers"]) == (24, 2, 3)
    assert load_file(folder / "adapter_model.safetensors")["prompt_embeddings"].shape == (7, 3 * 2 * 24)


# --- vLLM ---

TAKEN = {
    "peft_type": "LORA",
    "r": 16,
    "bias": "none",
    "use_dora": False,
    "modules_to_save": None,
    "rank_pattern": {},
    "alpha_pattern": {},
}


@pytest.mark.parametrize(
    "changed, fault",
    [
        ({"peft_type": "PREFIX_TUNING"}, "loads LORA adapters alone"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "not all"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern"),
        ({"r": 513}, "513, of at most 512"),
    ],
)
def test_what_vllm_would_not_take(changed: dict[str, Any], fault: str):
    assert vllm_faults(TAKEN) == []
    (found,) = vllm_faults(TAKEN | changed)
    assert fault in found


@pytest.mark.parametrize(
    "rank, flag", [(1, ""), (16, ""), (17, "--max-lora-rank 32"), (300, "--max-lora-rank 320")]
)
def test_what_vllm_must_be_started_with(rank: int, flag: str):
    assert vllm_flag(TAKEN | {"r": rank}) == flag


@pytest.mark.parametrize("name, taken", [("lora", True), ("prefix", False), ("soft_prompt", False)])
def test_an_export_says_whether_vllm_takes_it(make_base, make_artifact, exported, name: str, taken: bool):
    vllm = exported(make_artifact(make_base("llama"), name), "peft")["vllm"]
    assert (vllm["faults"] == []) is taken


# --- as plain transformers load it ---


@pytest.mark.parametrize("shards", ["1GB", "20KB"], ids=["one file", "several files"])
@pytest.mark.parametrize("kind", ["llama", "tied", "gpt2"])
def test_merged_weights_say_what_the_candidate_says(
    make_base, make_artifact, exported, kind: str, shards: str
):
    folder = make_base(kind, shards=shards)
    layers = EVERY_LINEAR[BASES[kind][0]]
    result = exported(make_artifact(folder, "lora", target=layers), "merged")
    assert result["largest_logit_difference"] < 1e-4
    assert result["largest_difference_to_base"] > 0.1
    assert result["changed"] == 3 * len(layers) + (3 if kind == "gpt2" else 0)  # c_proj stands there twice
    names = {path.name for path in Path(result["export"]).iterdir()}
    assert names == {path.name for path in folder.iterdir()}
    assert ((folder / INDEX).exists()) is (shards == "20KB")


def test_weights_that_are_not_adapted_stay_bit_for_bit(make_base, make_artifact, exported):
    folder = make_base("llama", torch.bfloat16)
    result = exported(make_artifact(folder, "lora", target=["v_proj"]), "merged")
    before, after = (load_file(Path(each) / "model.safetensors") for each in (folder, result["export"]))
    assert list(before) == list(after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"model.layers.{layer}.self_attn.v_proj.weight" for layer in range(3)}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_dtype_is_kept_and_folding_is_rounded_once(
    make_base, make_artifact, exported, dtype: torch.dtype
):
    folder = make_base("gpt2", dtype)
    artifact = make_artifact(folder, "lora")
    result = exported(artifact, "merged")
    before, after = (load_file(Path(each) / "model.safetensors") for each in (folder, result["export"]))
    weights = load_file(artifact / "weights.safetensors")
    name = "transformer.h.1.attn.c_attn"
    update = (weights[f"{name}.lora_B"] @ weights[f"{name}.lora_A"]).double() * (16 / 4)
    exact = before[f"{name}.weight"].double() + update.T
    assert after[f"{name}.weight"].dtype == dtype
    rounding = torch.finfo(dtype).eps / 2 * exact.abs() + torch.finfo(dtype).smallest_normal
    assert ((after[f"{name}.weight"].double() - exact).abs() <= rounding * 1.001).all()
    assert 0 < result["largest_logit_difference"] < 0.1 * result["largest_difference_to_base"]


PLAIN = """
import json, sys
sys.modules["stepladder"] = sys.modules["peft"] = None
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
ids = tokenizer.apply_chat_template(
    [{"role": "user", "content": "the car is red"}], add_generation_prompt=True, return_dict=False
)
print(json.dumps({"ids": ids, "logits": model(torch.tensor([ids])).logits[0, -1].tolist(),
    "eos": GenerationConfig.from_pretrained(sys.argv[1]).eos_token_id}))
"""


def test_a_merged_model_needs_nothing_of_ours(make_base, make_artifact, exported):
    folder = make_base("tied")
    artifact = make_artifact(folder, "lora")
    result = exported(artifact, "merged")
    done = subprocess.run([sys.executable, "-c", PLAIN, result["export"]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["eos"] == AutoTokenizer.from_pretrained(folder).eos_token_id
    base = load_base(resolve_base(str(folder), Path.cwd()))
    method = build_method("lora", METHODS["lora"], export.discover())
    Worded.load(artifact, base, read_schema(SCHEMA, export.discover()), method)
    expected = base.engine.probe_logits([said["ids"]])[-1]
    assert said["logits"] == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_base_without_template_and_generation_config_gets_them(make_base, make_artifact, exported):
    folder = make_base("llama")
    for name in ("chat_template.jinja", "generation_config.json"):
        (folder / name).unlink()
    renderer = load_base(resolve_base(str(folder), Path.cwd())).renderer
    assert not renderer.has_template
    target = Path(exported(make_artifact(folder, "lora"), "merged")["export"])
    assert GenerationConfig.from_pretrained(target).eos_token_id == renderer.tokenizer.eos_token_id
    told = [{"role": "user", "content": "the car"}, {"role": "assistant", "content": "red"}]
    printed = AutoTokenizer.from_pretrained(target).apply_chat_template(told, tokenize=False)
    assert printed == renderer._template.print(told, ask=False)


# --- memory ---

WRITE = """
import json, sys, torch
from pathlib import Path
from safetensors.torch import load_file
from stepladder.core.model.architecture import tied_weights
from stepladder.core.model.merged_export import write_merged
from stepladder.plugins.methods.lora import Lora
base, artifact, target = map(Path, sys.argv[1:4])
torch.set_num_threads(1)
method = Lora(Lora.Settings(**json.loads(sys.argv[4])))
config = json.loads((base / "config.json").read_text())
folds = method.folds(load_file(artifact), config)
tied_weights(config), torch.ones(64, 64) @ torch.ones(64, 64)  # libraries take memory when first used
print("ready", flush=True)
sys.stdin.readline()
write_merged(target, base, folds)
"""


def anonymous_bytes(pid: int) -> Iterator[int]:
    """Memory of the process that is no mapped file, as often as it can be read until it has ended."""
    while True:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except FileNotFoundError:
            return
        lines = [line for line in status.splitlines() if line.startswith("RssAnon")]
        if not lines:
            return
        yield int(lines[0].split()[1]) * 1024


def peak_of_writing(base: Path, artifact: Path, target: Path, settings: dict[str, Any]) -> int:
    """By how many bytes the memory of a process grows while it writes."""
    command = [sys.executable, "-c", WRITE, str(base), str(artifact), str(target), json.dumps(settings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        before = next(anonymous_bytes(process.pid))
        process.stdin.write("\n")
        process.stdin.flush()
        peak = 0
        for found in anonymous_bytes(process.pid):
            peak = max(peak, found)
            time.sleep(0.0002)
    assert process.returncode == 0
    return peak - before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "shards, number, most", [("40MB", 3, 2.0), ("1GB", 1, 0.5)], ids=["several files", "one file"]
)
def test_memory_of_writing_by_the_largest_file(
    make_base, tmp_path, record_property, shards: str, number: int, most: float
):
    """Of one file it is less than half: weight by weight, whatever the size of the file."""
    wide = {"hidden_size": 1024, "intermediate_size": 4096, "head_dim": 256, "num_key_value_heads": 4}
    folder = make_base("llama", torch.bfloat16, shards, **wide)
    settings = {"rank": 8, "target": EVERY_LINEAR["llama"]}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
        learned = Lora(Lora.Settings(**settings)).attach(model).parameters
    save_file({name: torch.randn(each.shape) for name, each in learned.items()}, tmp_path / "learned")
    (tmp_path / "target").mkdir()
    grown = peak_of_writing(folder, tmp_path / "learned", tmp_path / "target", settings)
    files = [path.stat().st_size for path in folder.glob("*.safetensors")]
    record_property("figures", f"largest of {len(files)} files {max(files):,} bytes, grown by {grown:,}")
    assert sum(files) > 95e6 and len(files) == number
    assert grown <= most * max(files)


# --- what cannot be exported ---


def test_a_method_without_that_form_says_which_it_has(make_base, make_artifact, exported):
    base = make_base("llama")
    with pytest.raises(ModelError, match=r"prefix has no form for --format merged: it has peft$"):
        exported(make_artifact(base, "prefix"), "merged")
    with pytest.raises(ModelError, match=r"zero_shot has no form for --format peft: it has none"):
        exported(make_artifact(base, "zero_shot"), "peft")


def test_another_base_is_refused(make_base, make_artifact, exported):
    folder = make_base("llama")
    artifact = make_artifact(folder, "lora")
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.lm_head.weight.data += 1
    model.save_pretrained(folder)
    for form in ("peft", "merged"):
        with pytest.raises(ModelError, match=r"is needed as it was .* has another content"):
            exported(artifact, form)


def test_a_changed_artifact_is_refused(make_base, make_artifact, exported):
    artifact = make_artifact(make_base("llama"), "lora")
    weights = load_file(artifact / "weights.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, artifact / "weights.safetensors")
    with pytest.raises(ModelError, match=r"weights\.safetensors is missing or not what the fit wrote"):
        exported(artifact, "peft")


def test_a_folder_that_is_no_artifact_is_refused(exported, tmp_path):
    with pytest.raises(InputError, match="expected models:/NAME@alias"):
        exported(tmp_path, "peft")


def test_weights_under_other_names_are_told(make_base, tmp_path):
    folder = make_base("llama")
    names = ("model.layers.0.self_attn.q_proj.weight", "model.nowhere.weight")
    with pytest.raises(ModelError, match=r"1 of 2 weights .* at first model\.nowhere\.weight: .* so anew"):
        write_merged(tmp_path, folder, dict.fromkeys(names, lambda weight: weight))
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_file_of_the_trunk_alone_has_shorter_names(make_base, tmp_path):
    folder, target = make_base("gpt2"), tmp_path / "target"
    target.mkdir()
    tensors = load_file(folder / "model.safetensors")
    shorter = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    save_file(shorter, folder / "model.safetensors", metadata={"format": "pt"})
    name = "transformer.h.0.mlp.c_fc.weight"
    assert write_merged(target, folder, {name: lambda weight: weight + 1}).changed == 1
    model = AutoModelForCausalLM.from_pretrained(target)
    assert torch.equal(model.get_parameter(name), tensors[name] + 1)


def test_a_base_with_an_adapter_of_its_own_is_refused(make_base, tmp_path):
    folder = make_base("llama")
    (folder / "adapter_config.json").write_text("{}")  # transformers would load it over the merged weights
    with pytest.raises(ModelError, match=r"has an adapter of its own"):
        write_merged(tmp_path, folder, {})


def test_tied_weights_that_are_stored_twice_stay_one(make_base, tmp_path):
    folder, target = make_base("tied"), tmp_path / "target"
    target.mkdir()
    tensors = load_file(folder / "model.safetensors")
    name = "model.embed_tokens.weight"
    save_file(
        tensors | {"lm_head.weight": tensors[name].clone()}, folder / "model.safetensors", {"format": "pt"}
    )
    write_merged(target, folder, {name: lambda weight: weight * 2})
    model = AutoModelForCausalLM.from_pretrained(target)
    assert torch.equal(model.lm_head.weight, tensors[name] * 2)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_quantised_weights_are_refused(make_base, tmp_path):
    folder = make_base("llama")
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    tensors[name] = tensors[name].to(torch.int8)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"q_proj\.weight is quantised \(I8\)"):
        write_merged(tmp_path, folder, {name: lambda weight: weight})


def test_without_peft_it_is_said_that_nothing_was_loaded(make_base, make_artifact, exported, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    artifact = make_artifact(make_base("llama"), "lora")
    assert exported(artifact, "peft")["loaded_by"] is None
