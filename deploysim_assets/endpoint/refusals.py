"""What an error status means, and what the server said, without what it quotes of the request."""

import re
from typing import Any, cast

import orjson

_FILTERS = (
    "content_filter",
    "content_policy_violation",
    "moderation_blocked",
    "ResponsibleAIPolicyViolation",
)
_STOPS = {
    "model_not_found": "has no such model",
    "DeploymentNotFound": "has no such deployment",
    "NotFoundError": "has no such model",
    "insufficient_quota": "says that the quota is used up",
    "billing_hard_limit_reached": "says that billing stopped",
}
_NO_SUCH_PATH = frozenset({"error", "invalid_request_error", "not_found_error", "not_found"})
_RETRIED = frozenset({408, 409, 429})
_PUSHBACKS = frozenset({429, 503, 529})
_LONGEST = 300
_READ = 2_000
_GONE, _SHORTEST_KEY = "[...]", 8
_RUN = 3
"""So many words in a row that stand in the request are a quote of it."""


class Refusal(Exception):
    """A response with an error status, in the shapes of OpenAI, Azure, LiteLLM, vLLM, Anthropic,
    FastAPI and Ollama. `kind` is the server's name of the error, `message` what it says, without
    what it quotes of the `request` and of the key."""

    def __init__(
        self, status: int, raw: bytes, request: dict[str, Any] | None = None, key: str = ""
    ) -> None:
        self.status = status
        self.kind, message = _named(raw)
        if len(key) >= _SHORTEST_KEY:
            message = message.replace(key, _GONE)
        self.message = masked(message, request)
        named = [*([self.kind] if self.kind != "error" or not message else []), self.message]
        super().__init__(f"status {status}: {': '.join(filter(None, named))}")

    def stops_everything(self, model: str, key_name: str | None) -> str | None:
        """Why no further request can succeed and which setting to look at, or None."""
        said = f" ({self.message})" if self.message else ""
        if self.is_filter:
            return None
        if self.status == 401 or (self.status == 403 and self.kind not in _STOPS):
            key = (
                f"check the value of {key_name}, which api_key_env names"
                if key_name
                else "name the variable that holds its key in endpoint.api_key_env (or judge's)"
            )
            return f"refused the key (status {self.status}){said}; {key}"
        if self.kind in _STOPS:
            return f"{_STOPS[self.kind]}{said}; see to it and run again (model {model!r})"
        if self.status == 404 and self.kind in _NO_SUCH_PATH:
            return (
                f"knows no such address or model (status 404){said}; look at endpoint.base_url "
                f"(most end in /v1), at endpoint.api, and at the model's name {model!r}"
            )
        if 300 <= self.status < 400:
            return f"has moved (status {self.status}); set base_url to where it is now"
        return None

    @property
    def is_pushback(self) -> bool:
        """Whether the server is there and asks for less: waited for, however long it takes."""
        return self.status in _PUSHBACKS

    @property
    def is_transient(self) -> bool:
        return self.status in _RETRIED or self.status >= 500

    @property
    def is_filter(self) -> bool:
        return self.status < 500 and any(name in self.kind for name in _FILTERS)


def _fields(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _named(raw: bytes) -> tuple[str, str]:
    """The server's name of an error and its message."""
    try:
        body = _fields(orjson.loads(raw))
    except ValueError:
        return "error", ""
    if isinstance(text := body.get("error"), str):
        return _kind(body.get("error_type")) or "error", text
    error = _fields(body.get("error")) or body  # vLLM of old and gateways write no `error`
    message = _message(error.get("message") or error.get("detail"))
    named = re.search(r"\b(\w+Error)\b", message.split(":")[0])  # litellm.BadRequestError: ...
    kinds = (
        "moderation_blocked" if "flagged_input" in _fields(error.get("metadata")) else None,
        _fields(error.get("innererror")).get("code"),
        error.get("code"),
        error.get("type"),
        named[1] if named else None,
    )
    return next((k for k in map(_kind, kinds) if k), "error"), message


def _message(said: Any) -> str:
    """A message; FastAPI's validation writes one entry per field, with the input beside it."""
    if isinstance(said, list):
        return "; ".join(str(_fields(m).get("msg", "")) for m in cast("list[Any]", said))
    return said if isinstance(said, str) else ""


def _kind(value: Any) -> str | None:
    """A name, and no status that somebody wrote where a name belongs."""
    return value if isinstance(value, str) and value and not value.isdigit() else None


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner: list[Any] = cast("list[Any]", value) if isinstance(value, list) else []
    return [text for one in inner or _fields(value).values() for text in _texts(one)]


def _said(request: dict[str, Any] | None) -> str:
    return " ".join(" ".join(_texts((request or {}).get("messages"))).lower().split())


def masked(message: str, request: dict[str, Any] | None) -> str:
    """A server's message in at most 300 characters, without the pieces of the request that it
    quotes: runs of three words, and single words in quotation marks or ten letters long."""
    shown = "".join(c if c.isprintable() else " " for c in message[:_READ])
    words, said = shown.split(), _said(request)
    if said and words:
        low = [re.sub(r"^\W+|\W+$", "", w).lower() for w in words]
        gone = {
            i
            for i, word in enumerate(low)
            if word and word in said and (len(word) >= 10 or re.match(r"\W*[\"'`\u201c]", words[i]))
        }
        for i in range(len(words) - _RUN + 1):
            if " ".join(low[i : i + _RUN]) in said:
                gone.update(range(i, i + _RUN))
        words = [_GONE if i in gone else w for i, w in enumerate(words)]
        words = [w for i, w in enumerate(words) if w != _GONE or words[i - 1 : i] != [_GONE]]
    short = " ".join(words)
    return short if len(short) <= _LONGEST else f"{short[: _LONGEST - 3]}..."


def filtered(wrong: Refusal) -> dict[str, Any]:
    """The answer that a content filter's error stands for."""
    return {
        "content": None,
        "reasoning": None,
        "tool_calls": [],
        "attachments": [],
        "finish_reason": "content_filter",
        "status": "filtered",
        "error": wrong.kind,
        "prompt_tokens": 0,
        "completion_tokens": 0,
    }
