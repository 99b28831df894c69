"""The peer's side of prompt_search_vs_dspy: DSPy's random search over bootstrapped demonstrations.

The language model is the same base through transformers, greedy where DSPy asks for temperature 0. DSPy's
cache is off, so that every call is counted; its second try by JSON is off, so that a question is one call.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, Literal

import dspy
import torch
from timing import Clock, read_job, write_result
from transformers import AutoModelForCausalLM, AutoTokenizer

MAX_TOKENS = 48


class Local(dspy.BaseLM):
    """A model of transformers on this machine."""

    def __init__(self, folder: str) -> None:
        super().__init__(model="local", temperature=0.0, max_tokens=MAX_TOKENS, cache=False)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.calls: list[int] = []

    @torch.no_grad()
    def forward(self, prompt: str | None = None, messages: Any = None, **arguments: Any) -> Any:
        turns = messages or [{"role": "user", "content": prompt}]
        asked = self.tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        heat = arguments.get("temperature") or 0.0
        drawn = {"do_sample": True, "temperature": heat} if heat else {"do_sample": False}
        written = self.network.generate(
            **asked, max_new_tokens=MAX_TOKENS, pad_token_id=self.tokenizer.eos_token_id, **drawn
        )
        before = asked["input_ids"].shape[1]
        self.calls.append(before)
        text = self.tokenizer.decode(written[0, before:], skip_special_tokens=True)
        message = SimpleNamespace(content=text, tool_calls=None, reasoning_content=None)
        choice = SimpleNamespace(message=message, finish_reason="stop", logprobs=None)
        return SimpleNamespace(choices=[choice], usage={}, model="local", _hidden_params={})


def examples(rows: list[list[str]]) -> list[Any]:
    return [dspy.Example(text=text, intent=intent).with_inputs("text") for text, intent in rows]


def right(example: Any, said: Any, trace: Any = None) -> bool:
    return bool(str(getattr(said, "intent", "")).strip() == example.intent)


def answer(program: Any, example: Any) -> bool:
    """A reply that DSPy cannot parse is a wrong answer, as in its own evaluation."""
    try:
        return right(example, program(**example.inputs()))
    except Exception as error:
        print(f"not parsed: {type(error).__name__}")
        return False


def program_of(labels: list[str], instruction: str) -> Any:
    intent = (Literal[tuple(labels)], dspy.OutputField())  # type: ignore[misc]
    fields = {"text": (str, dspy.InputField()), "intent": intent}
    return dspy.Predict(dspy.Signature(fields, instruction))


def main() -> None:
    job = read_job()
    model = Local(job["base"])
    adapter = dspy.ChatAdapter(use_json_adapter_fallback=False)
    dspy.configure(lm=model, adapter=adapter, num_threads=1)
    train, validation, test = (examples(job[kind]) for kind in ("train", "validation", "test"))
    search = dspy.BootstrapFewShotWithRandomSearch(
        metric=right,
        max_bootstrapped_demos=job["shots"] // 2,
        max_labeled_demos=job["shots"],
        # It tries three programs of its own beside these: without, with labelled, with unshuffled rows.
        num_candidate_programs=job["programs"] - 3,
        num_threads=1,
        max_errors=math.inf,
    )
    clock = Clock()
    clock.start()
    program = search.compile(program_of(job["labels"], job["instruction"]), trainset=train, valset=validation)
    clock.stop()
    calls = len(model.calls)
    answers = [answer(program, example) for example in test]
    best = max(candidate["score"] for candidate in program.candidate_programs) / 100
    about = {"right": answers, "calls": calls, "searched": best, "tried": job["programs"]}
    write_result(clock, ("torch", "transformers", "dspy"), **about)


main()
