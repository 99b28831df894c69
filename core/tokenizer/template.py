"""A tokenizer's chat template: what it prints, how it ends a turn, and which strings would forge one.

What cannot be read off a Jinja program is found by printing harmless conversations with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from jinja2.exceptions import TemplateError

from ..errors import ModelError, RowFault
from .vocabulary import Vocabulary

# For a tokenizer without a template. Contents are trimmed, so that the answer joins "Assistant:" by one
# space; the line feed between turns is printed by the later one, so that a turn ends in its end token.
PLAIN_TEMPLATE = (
    "{{ begin }}{% for message in messages %}{% if not loop.first %}{{ '\\n' }}{% endif %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] | trim }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{% if messages %}{{ '\\n' }}{% endif %}Assistant:{% endif %}"
)
# Some templates know no system role, some nothing but one question and one answer.
PROBES = (
    ("system", "user", "assistant", "user", "assistant"),
    ("user", "assistant", "user", "assistant"),
    ("user", "assistant"),
)
MARKER = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")

Turns = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Probe:
    """A harmless conversation that ends in an answer, printed without and with that answer."""

    contents: tuple[str, ...]
    prompt: str
    printed: str

    def literals(self) -> str:
        """What the template itself prints, a space in place of each content."""
        return re.sub("|".join(self.contents), " ", f"{self.prompt} {self.printed}")

    def answer(self) -> str:
        """What the template prints for the answer, as far as it only adds to the prompt."""
        return self.printed[len(self.prompt) :] if self.printed.startswith(self.prompt) else ""

    def tail(self) -> str:
        """What the template prints after the answer."""
        return self.printed.rpartition(self.contents[-1])[2]


class Template:
    """Prints conversations. Raises ModelError at once where it cannot print any."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._tokenizer = vocabulary.tokenizer
        self._begin = vocabulary.begin_text()
        self.source = _source(vocabulary)
        self._probes = self._accepted_probes(vocabulary.name)

    def print(self, conversation: Turns, ask: bool) -> str:
        """The conversation as text, ready for an answer if `ask`. Raises RowFault if the template refuses."""
        try:
            return self._print([conversation], ask)[0]
        except TemplateError as error:
            raise RowFault(f"the chat template refuses the conversation: {error}") from None

    def print_all(self, conversations: Sequence[Turns], ask: bool) -> list[str | RowFault]:
        """Many at once; a batch with a conversation that the template refuses is printed one by one."""
        if not conversations:
            return []
        try:
            return list(self._print(conversations, ask))
        except TemplateError:
            return [self._print_or_fault(conversation, ask) for conversation in conversations]

    def standalone(self) -> str:
        """The template for those who print without this class: it says itself what begins a text."""
        return "{% set begin = " + json.dumps(self._begin) + " %}" + self.source

    def literals(self) -> str:
        return " ".join(probe.literals() for probe in self._probes)

    def control_strings(self) -> frozenset[str]:
        """Markers such as <|user|> or [INST] that the template prints, be they special tokens or not."""
        return frozenset(MARKER.findall(self.literals()))

    def stop_ids(self, vocabulary: Vocabulary) -> frozenset[int]:
        """The end-of-text token, and the special tokens that follow an answer."""
        tails = vocabulary.ids([probe.tail().lstrip() for probe in self._probes])
        stops = {id for tail in tails for id in takewhile(vocabulary.special_ids.__contains__, tail)}
        stops |= set() if vocabulary.end is None else {vocabulary.end}
        if not stops:
            raise ModelError(
                f"{vocabulary.name}: nothing ends an answer: expected an end token (eos_token) or a chat"
                " template that prints a special token after an assistant's turn"
            )
        return frozenset(stops)

    def _print(self, conversations: Sequence[Turns], ask: bool) -> list[str]:
        texts: list[str] = self._tokenizer.apply_chat_template(
            list(conversations),
            chat_template=self.source,
            add_generation_prompt=ask,
            tokenize=False,
            begin=self._begin,
        )
        return texts

    def _print_or_fault(self, conversation: Turns, ask: bool) -> str | RowFault:
        try:
            return self.print(conversation, ask)
        except RowFault as fault:
            return fault.with_traceback(None)

    def _accepted_probes(self, name: str) -> list[Probe]:
        outcomes = [self._probe(roles) for roles in PROBES]
        probes = [outcome for outcome in outcomes if isinstance(outcome, Probe)]
        if not probes:
            raise ModelError(f"{name}: its chat template prints no conversation: {outcomes[-1]}")
        if any(content in probe.answer() for probe in probes for content in probe.contents[:-1]):
            raise ModelError(f"{name}: its chat template prints other turns in the middle of an answer's")
        return probes

    def _probe(self, roles: tuple[str, ...]) -> Probe | RowFault:
        contents = tuple(f"stepladder{index}" for index in range(len(roles)))
        messages = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=True)]
        prompt = self._print_or_fault(messages[:-1], ask=True)
        printed = self._print_or_fault(messages, ask=False)
        if isinstance(prompt, RowFault):
            return prompt
        return printed if isinstance(printed, RowFault) else Probe(contents, prompt, printed)


def _source(vocabulary: Vocabulary) -> str:
    """The template's Jinja source: of several, the one named `default`."""
    tokenizer = vocabulary.tokenizer
    if tokenizer.chat_template is None:
        return PLAIN_TEMPLATE
    try:
        source: str = tokenizer.get_chat_template()
    except ValueError as error:
        raise ModelError(f"{vocabulary.name}: {error}") from None
    return source
