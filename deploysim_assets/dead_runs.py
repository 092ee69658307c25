"""Runs whose process died without a word: left alone they count as in progress for ever, and automation waits for them."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import dagster as dg

_HOST_TAG, _PID_TAG, _BORN_TAG = "deploysim/host", "deploysim/pid", "deploysim/pid_started"


def _started(pid: int) -> str | None:
    """The start time of a live process in clock ticks (so that a reused pid is not taken for it), or None."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
    except FileNotFoundError:
        return None


def process_tags() -> Mapping[str, str]:
    """Tags that say which process executes a run started from the command line."""
    return {_HOST_TAG: socket.gethostname(), _PID_TAG: str(os.getpid()), _BORN_TAG: _started(os.getpid()) or ""}


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark as failed the unfinished command-line runs of this host whose process is gone; returns their ids."""
    unfinished = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]
    closed: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=unfinished, tags={_HOST_TAG: socket.gethostname()})):
        if _started(int(run.tags[_PID_TAG])) != run.tags[_BORN_TAG]:
            instance.report_run_failed(run, "the process that executed this run is gone; what it paid for is in the journal")
            closed.append(run.run_id)
    return closed
