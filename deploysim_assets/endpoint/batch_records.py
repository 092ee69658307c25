"""What is written down of the batches of a journal: intents before they are created, the provider's
ids, and how each ended. A restart, and a crash at any point, goes on from it."""

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import orjson

from deploysim_assets.endpoint.wire import request_key
from deploysim_assets.storage.journal import BATCHES, Journal, lines

BATCH_TRIES = 3
"""So often a request is put into a batch: once, and twice again where the batch gave no answer."""


class Asked(NamedTuple):
    """What an answer from a batch is charged by, and whom it is about."""

    model: str = ""
    prompt_tokens: int = 0
    about: str | None = None


class Batch(NamedTuple):
    """A batch that was submitted: the provider's id, the keys of its requests, and the base URL it
    went to (None where that was not written down yet)."""

    id: str
    requests: list[str]
    url: str | None = None


class Intent(NamedTuple):
    """A batch that was about to be created: the id that its metadata would carry, its requests,
    when, and where."""

    id: str
    requests: list[str]
    at: float
    url: str | None = None


def batches_file(journal_file: Path) -> Path:
    """Where the batches of a journal are written down."""
    return journal_file.with_name(journal_file.name.removesuffix(".jsonl") + BATCHES)


class Record(NamedTuple):
    """The batches of a journal: open ones, intents of which nothing more is known, how often each
    request was in a batch, why it failed last, and what those that may still be answered are
    charged by: whoever collects a batch need not be who asked."""

    open: dict[str, Batch]
    intents: dict[str, Intent]
    tries: Counter[str]
    reasons: dict[str, str]
    asked: dict[str, Asked]

    @classmethod
    def load(cls, journal_file: Path) -> Self:
        """As the file says; empty where there is none."""
        record, path = cls({}, {}, Counter(), {}, {}), batches_file(journal_file)
        for line in lines(path) if path.exists() else ():
            record._take(orjson.loads(line))
        return record

    def _take(self, row: dict[str, Any]) -> None:
        match row["state"]:
            case "intent":
                name, requests = row["intent"], row["requests"]
                self.intents[name] = Intent(name, requests, row["at"], row.get("url"))
                asked = (Asked(*one) for one in row.get("asked", ()))
                self.asked.update(zip(requests, asked, strict=False))
            case "submitted":
                intent = self.intents.pop(row.get("intent", ""), None)
                url = intent.url if intent else None
                self.open[row["batch"]] = Batch(row["batch"], row["requests"], url)
                self.tries.update(row["requests"])
            case "collected":
                self._forget(self.open.pop(row["batch"], None))
                self.reasons.update(row.get("failed", {}))
                # what can never be answered is not asked for again
                self.tries.update(dict.fromkeys(row.get("for_good", ()), BATCH_TRIES))
            case _:  # dropped: its requests count as never submitted
                self._forget(self.intents.pop(row["batch"], None))
                if dropped := self.open.pop(row["batch"], None):
                    self.tries.subtract(dropped.requests)
                    self._forget(dropped)

    def _forget(self, done: Batch | Intent | None) -> None:
        for key in done.requests if done else ():
            self.asked.pop(key, None)


def submitted(journal_file: Path) -> tuple[list[Batch], set[str]]:
    """The batches of a journal whose answers were not collected yet, and the keys of all
    requests that ever were in one."""
    record = Record.load(journal_file)
    return list(record.open.values()), {key for key, tries in record.tries.items() if tries > 0}


class Writer:
    """Writes a journal's record of batches; every line is on the disk when its call returns."""

    def __init__(self, file: Journal) -> None:
        self._file = file

    def _put(self, state: str, name: str, **more: Any) -> None:
        self._file.put({"key": request_key({state: name}), "state": state} | more)
        self._file.sync()

    def intent(self, name: str, requests: dict[str, Asked], url: str) -> None:
        """A batch is about to be created at a provider."""
        keys, asked = list(requests), [list(one) for one in requests.values()]
        self._put("intent", name, intent=name, requests=keys, asked=asked, url=url, at=time.time())

    def submitted(self, batch: str, intent: str, requests: list[str]) -> None:
        """The provider has it."""
        self._put("submitted", batch, batch=batch, intent=intent, requests=requests)

    def collected(self, batch: str, failed: dict[str, str], for_good: Iterable[str]) -> None:
        """Its answers are journalled; `failed` names the requests without one and why, `for_good`
        those that no other try would answer."""
        self._put("collected", batch, batch=batch, failed=failed, for_good=sorted(for_good))

    def dropped(self, batch: str) -> None:
        """Nothing more is expected of a batch or an intent; its requests may be asked again."""
        self._put("dropped", batch, batch=batch)
