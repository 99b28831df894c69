"""Text to tokens and training masks: the one renderer that trains, scores and generates.

A conversation is printed by the tokenizer's own chat template and then tokenized as it stands (the
template prints the begin token, so none is added). The mask of an assistant turn k comes from two
more prints of the same conversation, both of which must be *token* prefixes of the whole:

    prompt_k  = print(messages[:k], with the generation prompt)     what the model is given
    printed_k = print(messages[:k + 1])                             and what it must have written
    trained_k = the tokens of printed_k beyond those of prompt_k

Everything the template prints for a turn is trained, its end token included. Where a token spans the
join, a later turn changes an earlier one, or a content forges a turn, the row is a RowFault: there is
no fallback that guesses.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Literal, TypeVar

from jinja2.exceptions import TemplateError

from .errors import ModelError, RowFault
from .types import Encoded, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")
Train = Literal["all", "last"]
Conversation = Sequence[Message]
# One print of a row: its place in the batch, how many of its messages, and whether to ask for an answer.
Print = tuple[int, int, bool]

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
# Corpora spell the unknown word so; it opens and ends nothing.
HARMLESS = frozenset({"<unk>"})


@dataclass(frozen=True, slots=True)
class Turn:
    """A trained assistant turn: its place (from 1), the text before it and the text up to its end."""

    number: int
    prompt: str
    printed: str


@dataclass(frozen=True, slots=True)
class Printed:
    """A conversation as the template prints it, and its trained turns."""

    whole: str
    turns: tuple[Turn, ...]

    def texts(self) -> list[str]:
        return [self.whole, *(t.prompt for t in self.turns), *(t.printed for t in self.turns)]


@dataclass(frozen=True, slots=True)
class Probe:
    """A harmless conversation as the template prints it; `contents` are the words that stand in it."""

    contents: list[str]
    prompt: str
    printed: str

    def literals(self) -> str:
        """What the template itself prints, with a space in place of each content."""
        return re.sub("|".join(self.contents), " ", f"{self.prompt} {self.printed}")

    def tail(self) -> str:
        """What the template prints after the content of the last turn, an assistant's."""
        return self.printed.rpartition(self.contents[-1])[2]


class Renderer:
    """Renders conversations and plain texts to tokens and masks, with one tokenizer.

    `stop_ids` are the tokens that end an assistant turn. Raises ModelError where the template cannot
    print a conversation at all, or where nothing can end an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.has_template: bool = tokenizer.chat_template is not None
        self._template = _template(tokenizer)
        self._begin = _begin_ids(tokenizer)
        probes = self._probes()
        self._control = _any_of(_control_strings(tokenizer, probes))
        self._cuts = _cuts(tokenizer, probes)
        self.stop_ids = self._stop_ids(probes)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all that decides how text becomes tokens: template, special tokens, vocabulary."""
        parts = [self._template, self.tokenizer.special_tokens_map, _vocabulary(self.tokenizer)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    # --- conversations ---

    def prompt(self, messages: Conversation) -> list[int]:
        """The tokens of the conversation so far, up to where the assistant begins to write.

        Raises RowFault for a forged turn and for what the template refuses.
        """
        self._check_contents(messages)
        text = self._print(_plain(messages), ask=True)
        return self._tokenize([text])[text]

    def conversation(self, messages: Conversation, train: Train = "all") -> Encoded:
        """One conversation; raises the RowFault that `conversations` returns."""
        return _or_raise(self.conversations([messages], train)[0])

    def conversations(
        self, conversations: Sequence[Conversation], train: Train = "all"
    ) -> list[Encoded | RowFault]:
        """Tokens and mask of each conversation, or why it has none.

        Trains every assistant turn, or with `train="last"` the last one only (the others are
        demonstrations). Meant for batches of some thousand rows.
        """
        turns = [_attempt(self._trained_turns, c, train) for c in conversations]
        printed = self._print_turns(conversations, turns)
        ids = self._tokenize(chain.from_iterable(p.texts() for p in printed if isinstance(p, Printed)))
        return [p if isinstance(p, RowFault) else _attempt(self._encode, p, ids) for p in printed]

    def _trained_turns(self, messages: Conversation, train: Train) -> list[int]:
        """Indices of the messages to train on."""
        self._check_contents(messages)
        turns = [index for index, message in enumerate(messages) if message.role == "assistant"]
        if not turns:
            raise RowFault("nothing to train: the conversation has no assistant turn")
        return turns if train == "all" else turns[-1:]

    def _check_contents(self, messages: Conversation) -> None:
        for number, message in enumerate(messages, 1):
            if message.role == "assistant" and not message.content.strip():
                raise RowFault(f"turn {number} (assistant) is empty")
            self._check_text(message.content, f"turn {number} ({message.role})")

    def _check_text(self, text: str, where: str) -> None:
        if found := self._control.search(text):
            raise RowFault(f"{where} contains the control string {found[0]!r}, which would forge a turn")

    def _print_turns(
        self, conversations: Sequence[Conversation], turns: Sequence[list[int] | RowFault]
    ) -> list[Printed | RowFault]:
        wanted = [
            p
            for row, ks in enumerate(turns)
            if not isinstance(ks, RowFault)
            for p in _prints(row, ks, len(conversations[row]))
        ]
        prints = self._print_all([_plain(messages) for messages in conversations], wanted)
        return [
            ks if isinstance(ks, RowFault) else _attempt(_printed, row, ks, len(conversations[row]), prints)
            for row, ks in enumerate(turns)
        ]

    def _print_all(
        self, rows: Sequence[list[dict[str, str]]], wanted: Sequence[Print]
    ) -> dict[Print, str | RowFault]:
        """Every print asked for. A batch that holds a row the template refuses is printed one by one."""
        prints: dict[Print, str | RowFault] = {}
        for ask in (False, True):
            keys = [key for key in wanted if key[2] is ask]
            batch = [rows[row][:upto] for row, upto, _ in keys]
            try:
                texts: Sequence[str | RowFault] = self._print_batch(batch, ask) if batch else []
            except TemplateError:
                texts = [_attempt(self._print, messages, ask) for messages in batch]
            prints.update(zip(keys, texts, strict=True))
        return prints

    def _print(self, messages: list[dict[str, str]], ask: bool) -> str:
        try:
            return self._print_batch([messages], ask)[0]
        except TemplateError as error:
            raise RowFault(f"the chat template refuses the conversation: {error}") from None

    def _print_batch(self, batch: list[list[dict[str, str]]], ask: bool) -> list[str]:
        texts: list[str] = self.tokenizer.apply_chat_template(
            batch,
            chat_template=self._template,
            add_generation_prompt=ask,
            tokenize=False,
            begin="".join(self.tokenizer.convert_ids_to_tokens(self._begin)),
        )
        return texts

    def _encode(self, printed: Printed, ids: Mapping[str, list[int]]) -> Encoded:
        tokens = ids[printed.whole]
        trained = [False] * len(tokens)
        for turn in printed.turns:
            if tokens[: len(ids[turn.printed])] != ids[turn.printed]:
                raise RowFault(_not_a_prefix(turn.number, turn.printed, printed.whole, "the turn after it"))
            start, end = self._span(turn, ids)
            trained[start:end] = [True] * (end - start)
        return Encoded(tokens, trained)

    def _span(self, turn: Turn, ids: Mapping[str, list[int]]) -> tuple[int, int]:
        """Where the turn's own tokens start and end."""
        prompt, printed = ids[turn.prompt], ids[turn.printed]
        start = len(prompt)
        if printed[:start] != prompt:
            raise RowFault(_not_a_prefix(turn.number, turn.prompt, turn.printed, "its prompt"))
        if start == 0:
            raise RowFault(f"turn {turn.number} (assistant): nothing stands before it that could predict it")
        if self.stop_ids.isdisjoint(printed[start:]):
            raise RowFault(f"turn {turn.number} (assistant): the chat template prints no end token for it")
        if printed[start] in self.stop_ids:
            raise RowFault(f"turn {turn.number} (assistant): the chat template leaves nothing of its content")
        return start, len(printed)

    # --- plain texts ---

    def plain(self, prompt: str, answer: str) -> Encoded:
        """One prompt with its answer; raises the RowFault that `plains` returns."""
        return _or_raise(self.plains([(prompt, answer)])[0])

    def plains(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded | RowFault]:
        """Prompt and answer as one text without a template; the answer and an end token are trained."""
        ids = self._tokenize(chain.from_iterable((prompt, prompt + answer) for prompt, answer in pairs))
        return [_attempt(self._plain, prompt, answer, ids) for prompt, answer in pairs]

    def _plain(self, prompt: str, answer: str, ids: Mapping[str, list[int]]) -> Encoded:
        if not answer.strip():
            raise RowFault("the answer is empty")
        self._check_text(prompt, "the prompt")
        self._check_text(answer, "the answer")
        whole, before = ids[prompt + answer], ids[prompt]
        if whole[: len(before)] != before:
            raise RowFault(_joined(prompt, prompt + answer, "prompt and answer"))
        return self._finished(whole, untrained=len(before))

    def text(self, text: str) -> Encoded:
        """One text; raises the RowFault that `texts` returns."""
        return _or_raise(self.texts([text])[0])

    def texts(self, texts: Sequence[str]) -> list[Encoded | RowFault]:
        """Texts to be learned whole, an end token after each: all trained but the first token."""
        ids = self._tokenize(texts)
        return [_attempt(self._text, text, ids) for text in texts]

    def _text(self, text: str, ids: Mapping[str, list[int]]) -> Encoded:
        if not text.strip():
            raise RowFault("the text is empty")
        self._check_text(text, "the text")
        return self._finished(ids[text], untrained=0)

    def _finished(self, tokens: list[int], untrained: int) -> Encoded:
        """Between begin and end token; the very first token is never trained, as nothing predicts it."""
        end = self.tokenizer.eos_token_id
        if end is None:
            raise ModelError(f"{_name(self.tokenizer)} has no end token, which plain text needs (eos_token)")
        whole = [*self._begin, *tokens, end]
        masked = max(1, len(self._begin) + untrained)
        return Encoded(whole, [False] * masked + [True] * (len(whole) - masked))

    # --- tokens ---

    def _tokenize(self, texts: Iterable[str]) -> dict[str, list[int]]:
        """Tokens of each distinct text.

        A text is cut before the template's special tokens, which no token ever spans: so the pieces
        that prompts, turns and rows have in common are tokenized once.
        """
        pieces = {text: self._pieces(text) for text in texts}
        distinct = list(dict.fromkeys(chain.from_iterable(pieces.values())))
        ids = dict(zip(distinct, _token_ids(self.tokenizer, distinct), strict=True))
        return {text: list(chain.from_iterable(ids[p] for p in parts)) for text, parts in pieces.items()}

    def _pieces(self, text: str) -> list[str]:
        return [text] if self._cuts is None else self._cuts.split(text)

    # --- what the template prints ---

    def _probes(self) -> list[Probe]:
        """The probe conversations that the template accepts."""
        outcomes = [_attempt(self._probe, roles) for roles in PROBES]
        probes = [outcome for outcome in outcomes if isinstance(outcome, Probe)]
        if not probes:
            raise ModelError(f"{_name(self.tokenizer)}: its chat template prints no conversation: {outcomes[-1]}")
        return probes

    def _probe(self, roles: tuple[str, ...]) -> Probe:
        messages = [{"role": role, "content": f"stepladder{index}"} for index, role in enumerate(roles)]
        contents = [message["content"] for message in messages]
        return Probe(contents, self._print(messages[:-1], ask=True), self._print(messages, ask=False))

    def _stop_ids(self, probes: Sequence[Probe]) -> frozenset[int]:
        """The end token, and the special tokens that follow an assistant's content."""
        special = set(self.tokenizer.added_tokens_decoder) | set(self.tokenizer.all_special_ids)
        tails = _token_ids(self.tokenizer, [probe.tail().lstrip() for probe in probes])
        ends = {self.tokenizer.eos_token_id} - {None}
        stops = frozenset(chain(ends, *(takewhile(special.__contains__, tail) for tail in tails)))
        if not stops:
            raise ModelError(f"{_name(self.tokenizer)}: neither an end token (eos_token) nor its chat template ends a turn")
        return stops


def _plain(messages: Conversation) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _prints(row: int, turns: Sequence[int], length: int) -> list[Print]:
    """Before each trained turn, up to its end, and the whole."""
    ends = dict.fromkeys([*(k + 1 for k in turns), length])
    return [*((row, k, True) for k in turns), *((row, end, False) for end in ends)]


def _printed(row: int, turns: Sequence[int], length: int, prints: Mapping[Print, str | RowFault]) -> Printed:
    def text(upto: int, ask: bool) -> str:
        return _or_raise(prints[row, upto, ask])

    return Printed(text(length, False), tuple(Turn(k + 1, text(k, True), text(k + 1, False)) for k in turns))


def _not_a_prefix(number: int, before: str, whole: str, what: str) -> str:
    if whole.startswith(before):
        return _joined(before, whole, f"turn {number} (assistant) and {what}")
    return (
        f"turn {number} (assistant): the chat template does not print it as {what} continues or precedes it:"
        f" {_edge(before)} is not how the conversation begins"
    )


def _joined(before: str, whole: str, what: str) -> str:
    """Why a text that begins another does not begin it in tokens."""
    join = before[-12:] + "|" + whole[len(before) : len(before) + 12]
    return f"join merged: a token spans {what} at {join!r}, so no mask is right"


