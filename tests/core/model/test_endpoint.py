"""An endpoint that answers, is busy, or answers badly: a real server, asked over a real connection."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from stepladder.core.errors import ModelError, StepError
from stepladder.core.model.endpoint import Endpoint, Question
from stepladder.core.model.locate import BaseRef, resolve_base
from stepladder.core.types import Message, Sampling

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from stub_endpoint import Reply, says, serving

GREEDY = Sampling(seed=3)


def questions(*words: str) -> list[Question]:
    return [Question(f"row-{place}", [Message("user", word)]) for place, word in enumerate(words)]


def asked(base: str, **access) -> Endpoint:
    return Endpoint(BaseRef(base, base, "", access=access))


def last(body) -> str:
    return body["messages"][-1]["content"]


# --- what is sent, and what comes back ---


def test_answers_come_in_the_order_of_the_questions_however_they_overtake_each_other():
    words = [f"word {place}" for place in range(12)]

    def slower_first(body):
        reply = says(last(body).upper())
        return Reply(reply.body, hold=0.2 if last(body) == "word 0" else 0.02)

    with serving(slower_first) as stub:
        answers = asked(stub.base(), parallel=3).complete(questions(*words), GREEDY, 7)
    assert [answer.text for answer in answers] == [word.upper() for word in words]
    assert stub.most_at_a_time == 3
    assert last(stub.requests[-1]) != "word 0"


def test_the_request_is_a_chat_in_the_openai_form(monkeypatch):
    monkeypatch.setenv("STUB_KEY", " sk-secret\n")
    turns = [Message("system", "be brief"), Message("user", "one?")]
    with serving(lambda body: says(" two ", prompt_tokens=11, completion_tokens=2)) as stub:
        (answer,) = asked(stub.base("owner/name"), key="STUB_KEY").complete([Question("a", turns)], GREEDY, 7)
    assert (answer.text, answer.prompt_tokens, answer.tokens) == ("two", 11, 2)
    assert stub.paths == ["/v1/chat/completions"]
    assert stub.keys == ["Bearer sk-secret"]
    assert stub.requests == [
        {
            "model": "owner/name",
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "one?"}],
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": 7,
            "seed": 3,
        }
    ]


def test_drawn_answers_are_drawn_apart_and_no_key_is_sent_where_none_is_named():
    sampling = Sampling(temperature=0.7, top_p=0.9, seed=5)
    with serving(lambda body: says("x")) as stub:
        asked(stub.base(), parallel=1).complete(questions("same", "same"), sampling, 7)
    assert [body["seed"] for body in stub.requests] == [5, 6]
    assert [body["top_p"] for body in stub.requests] == [0.9, 0.9]
    assert stub.keys == [None, None]


def test_an_answer_that_was_cut_off_has_not_ended():
    reply = json.loads(says("x").body)
    reply["choices"][0]["finish_reason"] = "length"
    with serving(lambda body: Reply(json.dumps(reply).encode())) as stub:
        (answer,) = asked(stub.base()).complete(questions("a"), GREEDY, 7)
    assert not answer.ended


def test_what_is_said_of_tokens_may_be_nonsense():
    reply = json.loads(says("x").body) | {"usage": {"prompt_tokens": "many", "completion_tokens": -1}}
    with serving(lambda body: Reply(json.dumps(reply).encode())) as stub:
        (answer,) = asked(stub.base()).complete(questions("a"), GREEDY, 7)
    assert (answer.prompt_tokens, answer.tokens) == (0, 0)


# --- busy, and able again ---


def failing(times: int, reply: Reply):
    """A rule that fails so often, then answers."""
    left = [reply] * times
    return lambda body: left.pop() if left else says("at last")


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_endpoint_is_asked_again_after_the_pause_it_asks_for(status: int):
    busy = Reply(b"wait", status, {"Retry-After": "0"})
    with serving(failing(2, busy)) as stub:
        (answer,) = asked(stub.base(), retries=2).complete(questions("a"), GREEDY, 7)
    assert answer.text == "at last"
    assert len(stub.requests) == 3


def test_retry_after_may_be_a_date():
    soon = datetime.now(UTC) + timedelta(seconds=2)
    busy = Reply(b"", 429, {"Retry-After": format_datetime(soon, usegmt=True)})
    started = time.monotonic()
    with serving(failing(1, busy)) as stub:
        asked(stub.base(), retries=1).complete(questions("a"), GREEDY, 7)
    assert time.monotonic() - started > 0.6, "its own first pause is half a second, and a date has whole ones"


def test_without_a_pause_asked_for_it_waits_and_waits_longer():
    started = time.monotonic()
    with serving(failing(2, Reply(b"", 500))) as stub:
        asked(stub.base(), retries=2).complete(questions("a"), GREEDY, 7)
    assert time.monotonic() - started >= 0.5 + 1.0


def test_an_endpoint_that_stays_broken_is_given_up_with_what_it_said():
    broken = Reply(b"out of\nmemory", 500, {"Retry-After": "0"})
    with serving(lambda body: broken) as stub, pytest.raises(StepError) as error:
        asked(stub.base(), retries=2).complete(questions("a"), GREEDY, 7)
    assert len(stub.requests) == 3
    assert str(error.value).startswith(
        f"{stub.url}#stub, asked for row row-0: expected an answer, found status 500: out of memory, "
        "at each of 3 tries: see that it is up"
    )


def test_an_endpoint_that_does_not_answer_in_time():
    started = time.monotonic()
    late = r"found none within 0\.3 seconds, at each of 1 tries"
    with serving(lambda body: Reply(b"", hold=20)) as stub, pytest.raises(StepError, match=late):
        asked(stub.base(), timeout_seconds=0.3, retries=0).complete(questions("a"), GREEDY, 7)
    assert time.monotonic() - started < 5


def test_a_reply_that_drips_is_cut_off():
    """Each piece comes in time, the whole never does."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while True:
                connection.sendall(b" ")
                time.sleep(0.05)
        except OSError:
            connection.close()

    thread = threading.Thread(target=drip)
    thread.start()
    base = f"http://127.0.0.1:{listener.getsockname()[1]}/v1#m"
    with pytest.raises(StepError, match=r"found none within 0\.5 seconds"):
        asked(base, timeout_seconds=0.5, retries=0).complete(questions("a"), GREEDY, 7)
    listener.close()
    thread.join(timeout=5)
    assert not thread.is_alive(), "the connection is closed"


def test_nobody_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{free.getsockname()[1]}/v1#m"
    with pytest.raises(StepError, match=r"found ConnectError \(.*refused.*\), at each of 1 tries"):
        asked(base, retries=0).complete(questions("a"), GREEDY, 7)


# --- bad answers, and refusals ---


@pytest.mark.parametrize(
    "body, found",
    [
        (b"", "nothing"),
        (b"<html>sign in</html>", "<html>sign in</html>"),
        (b"[]", r"\[\]"),
        (b"{}", "{}"),
        (b'{"choices": []}', '{"choices": []}'),
        (b'{"choices": [{"message": {"content": null}}]}', '{"choices"'),
        (b'{"choices": [{"message": {}}]}', '{"choices"'),
        (b"\xff\xfe" + b"x" * 5000, "�"),
        (b"[" * 100_000, r"\[\["),
    ],
)
def test_what_is_no_chat_completion_is_told_and_not_asked_again(body: bytes, found: str):
    told = r"asked for row row-0: expected .*choices.*, found"
    with serving(lambda _: Reply(body)) as stub, pytest.raises(StepError, match=told) as error:
        asked(stub.base()).complete(questions("a"), GREEDY, 7)
    assert len(stub.requests) == 1
    assert len(str(error.value)) < 500
    assert found.replace("\\", "") in str(error.value)


def test_a_reply_without_end_is_not_kept():
    endless = Reply(b" " * (2**22 + 1))
    with (
        serving(lambda _: endless) as stub,
        pytest.raises(StepError, match="found more than 4,194,304 bytes"),
    ):
        asked(stub.base()).complete(questions("a"), GREEDY, 7)


def test_a_wrong_key_is_refused_once_and_never_shown(monkeypatch):
    monkeypatch.setenv("STUB_KEY", "sk-secret")
    refusal = Reply(b'{"error": "no such key: sk-secret"}', 401)
    with serving(lambda _: refusal) as stub, pytest.raises(ModelError) as error:
        asked(stub.base(), key="STUB_KEY").complete(questions("a"), GREEDY, 7)
    assert len(stub.requests) == 1
    assert "found status 401" in str(error.value) and "the key in STUB_KEY was sent" in str(error.value)
    assert "sk-secret" not in str(error.value) and "no such key: [key]" in str(error.value)


@pytest.mark.parametrize("status, advice", [(401, "no key was sent"), (404, "is there a model 'stub'")])
def test_refusals_say_what_to_look_at(status: int, advice: str):
    with serving(lambda _: Reply(b"no", status)) as stub, pytest.raises(ModelError, match=advice):
        asked(stub.base()).complete(questions("a"), GREEDY, 7)


def test_a_redirect_is_not_followed_since_the_key_would_go_with_it():
    moved = Reply(b"", 307, {"Location": "http://127.0.0.1:9/v1"})
    with serving(lambda _: moved) as stub, pytest.raises(ModelError, match="found status 307"):
        asked(stub.base()).complete(questions("a"), GREEDY, 7)


def test_after_a_refusal_the_rest_is_not_asked():
    with serving(lambda _: Reply(b"no", 400)) as stub, pytest.raises(ModelError):
        asked(stub.base(), parallel=2).complete(questions(*"abcdefghijklmnopqrst"), GREEDY, 7)
    assert len(stub.requests) < 10


def test_a_key_that_is_not_there_is_told_before_anything_is_asked(monkeypatch):
    monkeypatch.delenv("STUB_KEY", raising=False)
    with pytest.raises(ModelError, match="in the environment variable STUB_KEY, found none"):
        asked("http://127.0.0.1:9/v1#m", key="STUB_KEY")
    monkeypatch.setenv("STUB_KEY", "two\nlines")
    with pytest.raises(ModelError, match="one line of plain characters"):
        asked("http://127.0.0.1:9/v1#m", key="STUB_KEY")


# --- the address ---


def test_the_fingerprint_is_of_url_and_model():
    def fingerprint(base: str) -> str:
        return resolve_base(base, Path.cwd()).fingerprint

    assert fingerprint("https://host/v1#m") == fingerprint("https://host/v1/#m")
    names = ["https://host/v1#m", "https://host/v1#n", "https://host/v2#m", "http://host/v1#m"]
    assert len(set(map(fingerprint, names))) == 4
