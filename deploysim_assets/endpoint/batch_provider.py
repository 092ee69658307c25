"""The provider's files and batches, over the openai SDK, with errors that say what to do."""

from collections.abc import Callable
from typing import Any, Self, TypeVar

from deploysim_assets.endpoint.batch_records import Intent
from deploysim_assets.endpoint.errors import EndpointError, api_key
from deploysim_assets.endpoint.refusals import Refusal
from deploysim_assets.endpoint.wire import PATHS
from deploysim_assets.project import Endpoint

FINISHED = ("completed", "expired", "cancelled", "failed")
_WINDOW = "24h"
_MARK = "deploysim_intent"
_CLOCKS = 3600.0
"""Seconds by which the provider's clock may lie before ours."""
_LOST = (404, 405)

T = TypeVar("T")


class LostError(Exception):
    """The provider knows nothing of what it was asked for."""


class Provider:
    """The provider's files and batches. EndpointError says what it said; LostError where it does
    not know what was asked for."""

    def __init__(self, endpoint: Endpoint) -> None:
        import openai

        self._endpoint, self._sdk, self._key = endpoint, openai, api_key(endpoint)
        self._client = openai.OpenAI(
            base_url=endpoint.base_url,
            api_key=self._key,
            max_retries=endpoint.max_retries,
            timeout=endpoint.timeout_seconds,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def _call(self, what: str, call: Callable[[], T]) -> T:
        url = self._endpoint.base_url
        try:
            return call()
        except self._sdk.APIStatusError as wrong:
            said = Refusal(wrong.status_code, wrong.response.content, key=self._key)
            if said.status in _LOST and what.startswith("asked for"):
                raise LostError(str(said)) from None
            why = said.stops_everything("", self._endpoint.api_key_env) or f"answers {said}"
            raise EndpointError(f"{url}: {what}, its batch interface {why}") from None
        except self._sdk.OpenAIError as wrong:
            raise EndpointError(
                f"{url}: {what}, its batch interface gives no answer ({type(wrong).__name__}); "
                "what was submitted is written down: run again"
            ) from None
        except (ValueError, AttributeError, TypeError) as wrong:
            raise EndpointError(
                f"{url}: {what}, its batch interface answers what is no batch "
                f"({type(wrong).__name__}); look at base_url, or set mode: online"
            ) from None

    def create(self, intent: str, content: bytes) -> str:
        """Upload a file of requests and make a batch of it; the batch's id."""
        file = self._call(
            "given a file",
            lambda: self._client.files.create(file=("requests.jsonl", content), purpose="batch").id,
        )
        path: Any = f"/v1{PATHS[self._endpoint.api]}"
        return self._call(
            "given a batch",
            lambda: (
                self._client.batches.create(
                    input_file_id=file,
                    endpoint=path,
                    completion_window=_WINDOW,
                    metadata={_MARK: intent},
                ).id
            ),
        )

    def retrieve(self, batch: str) -> Any:
        return self._call(
            f"asked for batch {batch}",
            lambda: self._client.batches.retrieve(batch).model_copy(),
        )

    def content(self, file: str) -> bytes:
        """What a file holds; nothing where the provider has it no more."""
        try:
            return self._call("asked for a file", lambda: self._client.files.content(file).content)
        except LostError:
            return b""

    def of_intent(self, intent: Intent) -> str | None:
        """The batch that carries an intent's id, or None; LostError where the provider lists
        none."""

        def find() -> str | None:
            for batch in self._client.batches.list(limit=100):
                if (batch.metadata or {}).get(_MARK) == intent.id:
                    return batch.id
                if batch.created_at < intent.at - _CLOCKS:  # newest first
                    return None
            return None

        return self._call("asked for its batches", find)
