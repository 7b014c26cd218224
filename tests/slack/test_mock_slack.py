"""The mock Slack, with which users try the service."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from examples.mock_slack import MockSlack
from tests.cli.calling import ROOT, run_python
from tests.waiting import HANG_SECONDS

PROGRAM = str(ROOT / "examples" / "mock_slack.py")


def client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, trust_env=False, timeout=HANG_SECONDS)


def test_mock_keeps_messages_by_channel() -> None:
    with MockSlack() as slack, client(slack.url) as http:
        assert http.post("/amer", json={"text": "🚩 one"}).text == "ok"
        assert http.post("/%23emea", json={"blocks": [{"type": "divider"}]}).text == "ok"
        assert [(m["channel"], m["message"]) for m in http.get("/messages").json()] == [
            ("amer", {"text": "🚩 one"}),
            ("#emea", {"blocks": [{"type": "divider"}]}),
        ]
        assert len(slack.messages) == 2
        http.delete("/messages")
        assert slack.messages == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("", "invalid_payload"),
        ("[]", "invalid_payload"),
        ('{"text": ""}', "invalid_payload"),
        ('{"text": 5}', "invalid_payload"),
        ('{"text": "x", "blocks": 5}', "invalid_blocks"),
        (json.dumps({"blocks": [{"type": "divider"}] * 51}), "invalid_blocks"),
        (
            json.dumps({"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]}),
            "invalid_blocks",
        ),
    ],
)
def test_mock_refuses_what_slack_would_refuse(body: str, word: str) -> None:
    with MockSlack() as slack, client(slack.url) as http:
        answer = http.post("/amer", content=body)
        assert (answer.status_code, answer.text) == (400, word)
        assert slack.messages == []


def test_mock_channel_fails_as_often_as_asked() -> None:
    with MockSlack() as slack, client(slack.url) as http:
        slack.fail("amer", 429, times=2)
        slack.fail("emea", 404)
        answers = [http.post("/amer", json={"text": "x"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [429, 429, 200]
        assert [answer.headers.get("Retry-After") for answer in answers] == ["1", "1", None]
        assert {http.post("/emea", json={"text": "x"}).text for _ in range(3)} == {"channel_not_found"}
        assert [message["channel"] for message in slack.messages] == ["amer"]


@contextmanager
def started(*options: str, **environment: str) -> "Iterator[tuple[subprocess.Popen[str], httpx.Client]]":
    """Start the program on a free port, and end it with the context; yield it with a client."""
    command = [sys.executable, PROGRAM, "--port", "0", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen(command, env=os.environ | environment, **pipes) as program:
        try:
            found = re.search(r"http://\S+", program.stdout.readline())
            with client(found.group()) as http:
                yield program, http
        finally:
            program.terminate()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_program_stops_without_a_traceback(signum: signal.Signals) -> None:
    with started("--fail", "emea=500:1") as (program, http):
        assert http.post("/amer", json={"text": "one\ntwo"}).status_code == 200
        assert http.post("/emea", json={"text": "three"}).status_code == 500
        program.send_signal(signum)
        out, err = program.communicate(timeout=HANG_SECONDS)
    assert (program.returncode, err) == (0, "")
    assert out == "#amer\n    one\n    two\n#emea  (answered 500)\n    three\n"


def test_program_answers_when_it_cannot_print() -> None:
    """Otherwise every alert would be unconfirmed."""
    with started(PYTHONIOENCODING="ascii") as (program, http):
        assert http.post("/amer", json={"text": "🚩"}).status_code == 200
        assert program.stdout.readline() + program.stdout.readline() == "#amer\n    🚩\n"
        program.stdout.close()
        assert http.post("/amer", json={"text": "🚩"}).status_code == 200


@pytest.mark.parametrize("value", ["amer=200", "amer=500:0"])
def test_invalid_failure_option_is_a_usage_error(value: str) -> None:
    program = run_python(PROGRAM, "--fail", value)
    assert program.returncode == 2
    assert "Traceback" not in program.stderr
