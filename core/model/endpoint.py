"""An endpoint that answers chats in the OpenAI form: POST URL/chat/completions with a model and messages.

What comes back is nobody's promise: it is read in bounded time and size, and checked before it is used.
Requests run a few at a time in threads; one that the endpoint could not take (429, 408, 5xx, a lost
connection, no answer in time) is sent again, after the pause that it asks for, else after one that doubles.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import httpx
from pydantic import BaseModel, Field, ValidationError

from ..bases import endpoint_address
from ..config import EndpointConfig
from ..errors import ModelError, StepError
from ..types import Message, Sampling
from .locate import BaseRef

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 60.0
LARGEST_REPLY = 2**22
SHOWN = 200
EXPECTED = 'expected {"choices": [{"message": {"content": "..."}}]}'


@dataclass(frozen=True, slots=True)
class Question:
    """The turns before an answer; `id` is the row's, for messages to the user."""

    id: str
    turns: Sequence[Message]


@dataclass(frozen=True, slots=True)
class Completion:
    """What the endpoint wrote, the tokens that it counted (0 where it counts none), and whether it ended."""

    text: str
    prompt_tokens: int
    tokens: int
    ended: bool


class _Said(BaseModel):
    content: str


class _Choice(BaseModel):
    message: _Said
    finish_reason: Any = None


class _Reply(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None


class _Unavailable(Exception):
    """Another try may help; `pause` is what the endpoint asks for, in seconds."""

    def __init__(self, found: str, pause: float | None = None) -> None:
        super().__init__(found)
        self.pause = pause


class Endpoint:
    """Asks one model at one URL. Raises ModelError where the variable that holds the key is not set."""

    def __init__(self, ref: BaseRef) -> None:
        self.url, self.model = endpoint_address(ref.name)
        self.access = EndpointConfig(**(ref.access or {}))
        self._key = _read_key(ref.name, self.access.variable)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx.Client(timeout=self.access.timeout_seconds, headers=headers)

    def complete(
        self, questions: Sequence[Question], sampling: Sampling, max_tokens: int
    ) -> list[Completion]:
        """One answer to each question, of at most so many tokens, in order.

        Raises ModelError where the endpoint refuses one (its key, its model, its length), StepError where it
        does not answer, or not in the OpenAI form. Then the questions not yet sent are not sent.
        """
        common = {
            "model": self.model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": max_tokens,
        }
        # Where answers are drawn, each question draws for itself, also where two are the same.
        own = [sampling.seed + (place if sampling.temperature else 0) for place in range(len(questions))]
        with ThreadPoolExecutor(self.access.parallel) as pool:
            bodies = ({**common, "seed": seed} for seed in own)
            return list(pool.map(self._ask, questions, bodies))

    def _ask(self, question: Question, body: dict[str, Any]) -> Completion:
        messages = [{"role": turn.role, "content": turn.content} for turn in question.turns]
        content = self._persist(question.id, {**body, "messages": messages})
        try:
            reply = _Reply.model_validate_json(content)
        except ValidationError as error:
            raise StepError(self._told(question.id, f"{EXPECTED}, found {self._show(content)}")) from error
        first = reply.choices[0]
        return Completion(
            first.message.content.strip(), *_usage(reply.usage), ended=first.finish_reason != "length"
        )

    def _persist(self, row: str, body: dict[str, Any]) -> bytes:
        """The reply to the request, sent again as often as it may be."""
        for pause in self._pauses():
            try:
                return self._post(row, body)
            except _Unavailable as busy:
                failure = busy
                if pause is not None:
                    time.sleep(min(busy.pause if busy.pause is not None else pause, LONGEST_PAUSE_SECONDS))
        tries = self.access.retries + 1
        raise StepError(
            self._told(row, f"expected an answer, found {failure}, at each of {tries} tries")
            + ": see that it is up; endpoint.retries, timeout_seconds and parallel say how it is asked"
        ) from failure

    def _pauses(self) -> Iterator[float | None]:
        """Seconds to wait after each try that fails; None after the last."""
        yield from (FIRST_PAUSE_SECONDS * 2**number for number in range(self.access.retries))
        yield None

    def _post(self, row: str, body: dict[str, Any]) -> bytes:
        deadline = time.monotonic() + self.access.timeout_seconds
        try:
            with self._client.stream("POST", f"{self.url}/chat/completions", json=body) as response:
                content = _read(response, deadline)
        except httpx.TimeoutException as error:
            raise _Unavailable(f"none within {self.access.timeout_seconds:g} seconds") from error
        except httpx.RequestError as error:
            raise _Unavailable(f"{type(error).__name__} ({error})") from error
        if content is None:
            raise StepError(self._told(row, f"{EXPECTED}, found more than {LARGEST_REPLY:,} bytes"))
        status = response.status_code
        if status in (408, 429) or status >= 500:
            raise _Unavailable(f"status {status}: {self._show(content)}", _asked_pause(response))
        if status != 200:
            refused = f"expected an answer, found status {status}: {self._show(content)}"
            raise ModelError(f"{self._told(row, refused)}: {self._remedy(status)}")
        return content

    def _remedy(self, status: int) -> str:
        if status in (401, 403):
            sent = f"the key in {self.access.variable} was sent" if self._key else "no key was sent"
            return f"{sent}; endpoint.key names the environment variable that holds one for this address"
        if status == 404:
            return f"is there a model {self.model!r}, and does the URL end as its host says, often with /v1?"
        return "change what it refuses, such as shots or max_new_tokens"

    def _told(self, row: str, what: str) -> str:
        return f"{self.url}#{self.model}, asked for row {row}: {what}"

    def _show(self, content: bytes) -> str:
        """The beginning of a reply, without the key, which some quote."""
        text = " ".join(content[: 8 * SHOWN].decode(errors="replace").split())
        text = text.replace(self._key, "[key]") if self._key else text
        return (f"{text[:SHOWN]}…" if len(text) > SHOWN else text) or "nothing"


def _read(response: httpx.Response, deadline: float) -> bytes | None:
    """The body; None where it is too large. httpx's own limit is of silence, not of the whole."""
    content = bytearray()
    for part in response.iter_bytes():
        content += part
        if len(content) > LARGEST_REPLY:
            return None
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the reply does not end")
    return bytes(content)


def _read_key(base: str, variable: str | None) -> str:
    """Raises ModelError where the variable holds no key."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key or not (key.isascii() and key.isprintable()):
        found = "one line of plain characters" if key else "a key"
        raise ModelError(
            f"base {base}: expected {found} in the environment variable {variable}, found "
            f"{'something else' if key else 'none'}: export {variable}=..."
        )
    return key


def _usage(usage: Any) -> tuple[int, int]:
    """Tokens of prompt and answer, as far as they are told."""
    told = usage if isinstance(usage, dict) else {}
    count = partial(_count, told)
    return count("prompt_tokens"), count("completion_tokens")


def _count(told: dict[str, Any], name: str) -> int:
    value = told.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _asked_pause(response: httpx.Response) -> float | None:
    """Seconds of Retry-After, which is a number or a date (RFC 9110, 10.2.3)."""
    asked = response.headers.get("Retry-After", "")
    if asked.strip().isdecimal():
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
    except ValueError:
        return None
    return max(0.0, (until.astimezone(UTC) - datetime.now(UTC)).total_seconds())
