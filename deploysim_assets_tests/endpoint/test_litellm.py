"""A real LiteLLM proxy between us and a server: both interfaces, and its own errors.

Optional: its pins conflict with ours, so it lives in a virtual environment of its own
(`python -m venv litellm && litellm/bin/pip install 'litellm[proxy]'`), whose `litellm` the variable
DEPLOYSIM_LITELLM names.
"""

import os
import secrets
import subprocess
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from deploysim_assets.endpoint.client import EndpointError, ask_all
from deploysim_assets.endpoint.wire import request_key
from deploysim_assets.project import Endpoint
from deploysim_assets.schema import finish_reason, reply_state
from deploysim_assets.storage.journal import open_journal
from deploysim_assets_tests.support import free_port, serve, stop, wait_for

LITELLM = os.environ.get("DEPLOYSIM_LITELLM", "")
pytestmark = pytest.mark.skipif(
    not LITELLM, reason="DEPLOYSIM_LITELLM names no litellm of a virtual environment of its own"
)
KEY = f"sk-{secrets.token_hex(32)}"
CALL = {"id": "c", "type": "function", "function": {"name": "browser", "arguments": "{}"}}


async def _upstream(request: web.Request) -> web.Response:
    body = await request.json()
    asked = body["messages"][-1]["content"]
    if asked == "fail":
        error = {"message": "This model's maximum context length is 8 tokens.", "code": "bad"}
        return web.json_response({"error": error}, status=400)
    message: dict[str, Any] = {"role": "assistant", "content": f"to {asked}"}
    message |= {
        "empty": {"content": ""},
        "think": {"content": "<think>hm</think>fine"},
        "call": {"content": None, "tool_calls": [CALL]},
    }.get(asked, {})
    finish = {"cut": "length", "empty": "length", "call": "tool_calls"}.get(asked, "stop")
    choice = {"index": 0, "message": message, "finish_reason": finish}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return web.json_response(
        {"id": "x", "object": "chat.completion", "created": 1, "model": "up",
         "choices": [choice], "usage": usage}
    )  # fmt: skip


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    folder, port = tmp_path_factory.mktemp("litellm"), free_port()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _upstream)
    with serve(app) as upstream:
        params: dict[str, Any] = {"model": "openai/up", "api_base": upstream, "api_key": "k"}
        params["use_chat_completions_api"] = True  # the proxy itself makes responses of them
        config = {"model_list": [{"model_name": "m", "litellm_params": params}]}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        command = [
            LITELLM, "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port",
            str(port),
        ]  # fmt: skip
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                command,
                env=clean | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY},
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def alive() -> bool:
            assert process.poll() is None, (folder / "log").read_text()[-2_000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=2)
            except (urllib.error.URLError, OSError):
                return False
            return True

        try:
            wait_for(alive, 120, "the proxy")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            stop(process)


@pytest.fixture(autouse=True)
def _proxy_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY_KEY", KEY)


def request(asked: str, model: str = "m") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": asked}]}


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_replies_keep_their_state_through_the_proxy(tmp_path: Path, proxy: str, api: Any) -> None:
    asked = ["hello", "cut", "empty", "think", "call", "fail"]
    endpoint = Endpoint(
        base_url=proxy, api_key_env="PROXY_KEY", api=api, max_retries=1, timeout_seconds=30
    )
    with open_journal(tmp_path / "j") as journal:
        outcome = ask_all(lambda: map(request, asked), endpoint, journal)
        found = {
            name: journal.get(key)
            for name in asked
            if (key := request_key(request(name))) in journal
        }
    [failed] = outcome.failures.values()
    assert failed.startswith("status 400: ")
    assert "maximum context length is 8 tokens" in failed
    states = {name: reply_state(answer) for name, answer in found.items()}
    assert states == {
        "hello": "completed", "cut": "truncated", "empty": "empty", "think": "completed",
        "call": "completed",
    }  # fmt: skip
    assert found["hello"]["content"] == "to hello"
    assert (found["think"]["content"], found["think"]["reasoning"]) == ("fine", "hm")
    assert found["call"]["tool_calls"][0]["name"] == "browser"
    assert all(a["finish_reason"] == finish_reason(a["finish_reason"]) for a in found.values())
    assert found["hello"]["prompt_tokens"] >= 1


@pytest.mark.parametrize(
    ("model", "key", "said"),
    [("other", "PROXY_KEY", "model=other"), ("m", "NO_KEY", "No connected db")],
)
def test_a_model_or_a_key_that_the_proxy_does_not_take_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str, model: str, key: str, said: str
) -> None:
    monkeypatch.setenv("NO_KEY", "sk-this-is-not-the-key")
    endpoint = Endpoint(base_url=proxy, api_key_env=key, max_retries=0)
    with (
        open_journal(tmp_path / "j") as journal,
        pytest.raises(EndpointError, match=said) as caught,
    ):
        ask_all(lambda: [request("hello", model)], endpoint, journal)
    assert "not-the-key" not in str(caught.value)
