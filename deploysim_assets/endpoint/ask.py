"""The one door to a model: online or through batches, as the endpoint's settings say."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from deploysim_assets.endpoint.batches import ask_batched
from deploysim_assets.endpoint.budget import Account
from deploysim_assets.endpoint.client import Outcome, ask_all
from deploysim_assets.endpoint.wire import FollowUp
from deploysim_assets.project import Endpoint
from deploysim_assets.storage.journal import Journal


def ask(
    requests: Callable[[], Iterable[dict[str, Any]]],
    endpoint: Endpoint,
    journal: Journal,
    journal_file: Path,
    follow_up: FollowUp = lambda request, answer: None,
    *,
    account: Account,
    log: Callable[[str], None] | None = None,
) -> Outcome:
    """Ask for every answer that the journal does not hold yet; BatchesPendingError where batches
    are with the provider."""
    if endpoint.mode == "batch":
        return ask_batched(
            requests, endpoint, journal, journal_file, follow_up, account=account, log=log
        )
    return ask_all(requests, endpoint, journal, follow_up, account=account, log=log)
