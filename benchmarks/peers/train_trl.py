"""The peer's side of lora_vs_trl: TRL's SFTTrainer with PEFT's LoRA, tuned for a CPU.

Its defaults there are bfloat16 and gradient checkpointing, both off here. Padding-free batches need flash
attention and Liger's kernels need Triton: neither runs on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from timing import Clock, read_job, write_result
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


class LoopClock(TrainerCallback):
    """The training loop alone: model, data and trainer are ready when it starts."""

    def __init__(self) -> None:
        self.clock = Clock()

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.clock.start()

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        self.clock.stop()


def attach(job: dict[str, Any]) -> PeftModel:
    settings = job["settings"]
    model = AutoModelForCausalLM.from_pretrained(job["base"], dtype=torch.float32)
    config = LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=0.0,
        target_modules=settings["target"],
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def adapters(model: PeftModel) -> dict[str, torch.nn.Parameter]:
    """The learned tensors by the names of our side: `model.layers.0.self_attn.q_proj.lora_A`."""
    named = model.base_model.model.named_parameters()
    return {name.removesuffix(".default.weight"): p for name, p in named if p.requires_grad}


def trainer(job: dict[str, Any], model: PeftModel, loop: LoopClock) -> SFTTrainer:
    settings = job["settings"]
    tokenizer = AutoTokenizer.from_pretrained(job["base"])
    arguments = SFTConfig(
        output_dir="trainer",
        num_train_epochs=1,
        per_device_train_batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=settings["max_grad_norm"],
        train_sampling_strategy="sequential",
        max_length=None,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    dataset = Dataset.from_list(
        [
            {
                "input_ids": row["tokens"],
                "labels": [
                    token if trained else -100
                    for token, trained in zip(row["tokens"], row["trained"], strict=True)
                ],
            }
            for row in job["rows"]
        ]
    )
    return SFTTrainer(
        model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer, callbacks=[loop]
    )


def main() -> None:
    job = read_job()
    model, loop = attach(job), LoopClock()
    learned, initial = adapters(model), load_file(job["initial"])
    assert learned.keys() == initial.keys(), "both sides adapt the same layers"
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.copy_(initial[name])
    training = trainer(job, model, loop)
    with torch.no_grad():
        model(input_ids=torch.tensor([job["rows"][0]["tokens"]]))
    training.train()
    save_file({name: p.detach().contiguous() for name, p in learned.items()}, "weights.safetensors")
    write_result(loop.clock, ("torch", "transformers", "trl", "peft"))


main()
