"""The registry: releases, their logs, and how a candidate is asked."""

from typing import Any

from pydantic import AwareDatetime, Field

from deploysim_assets.behaviors import Frozen

KEY_PATTERN = r"^[A-Za-z0-9._-]+$"


class LogSource(Frozen):
    """Where a release's production logs lie: a format known to `deploysim_assets.logs`, and a glob
    relative to the home or an fsspec URL.

    `since` and `until` bound the time in which the release was the deployed one: conversations
    outside them are a failed check. `consent_basis` states in words why every conversation of this
    source may be used although the source carries no consent of its own; an explicit no stays a no.
    `model_names` are the names under which the source itself knows the release.
    """

    format: str
    path: str
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    consent_basis: str | None = Field(default=None, min_length=10)
    model_names: tuple[str, ...] = ()


class Candidate(Frozen):
    """How the release is asked before it ships: its name at the endpoint, and request parameters
    passed on as they are.

    A parameter set to null is left out of the request, also the `seed` that deploysim would
    otherwise send.
    """

    model: str
    params: dict[str, Any] = Field(default_factory=dict)


class Release(Frozen):
    """One model version: a partition. With a predecessor it is a candidate before its logs land,
    and a deployed model after."""

    model_version: str = Field(pattern=KEY_PATTERN)
    predecessor: str | None = None
    logs: LogSource
    candidate: Candidate | None = None

    @property
    def asked_as(self) -> Candidate:
        """The candidate's request settings; without a `candidate` entry the model version is the
        model's name."""
        return self.candidate or Candidate(model=self.model_version)
