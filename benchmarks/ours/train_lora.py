"""Our side of lora_vs_trl: the `lora` method through the one training loop."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from stepladder.core.model.base import load_base
from stepladder.core.model.locate import resolve_base
from stepladder.core.training.course import Observer
from stepladder.core.training.loop import train
from stepladder.core.types import Encoded
from stepladder.plugins.methods.lora import Lora
from timing import Clock, matmul_rate, read_job, write_result


def main() -> None:
    job = read_job()
    base = load_base(resolve_base(job["base"], Path()))
    settings = Lora.Settings(**job["settings"])
    trainable = Lora(settings).attach(base.model)
    with torch.no_grad():
        for name, tensor in load_file(job["initial"]).items():
            trainable.parameters[name].copy_(tensor)
    rows = [Encoded(**row) for row in job["rows"]]
    with torch.no_grad():
        base.model(input_ids=torch.tensor([rows[0].tokens]))
    clock = Clock()
    clock.start()
    train(base, trainable, rows, [], settings, Observer(lambda **_: None))
    clock.stop()
    learned = {name: p.detach().contiguous() for name, p in trainable.parameters.items()}
    save_file(learned, "weights.safetensors")
    write_result(clock, ("torch", "transformers"), matmul_gflops=matmul_rate())


main()
