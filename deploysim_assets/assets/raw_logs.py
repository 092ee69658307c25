"""raw_logs: a release's production conversations as they were logged. The only table with raw
text besides the files themselves."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from deploysim_assets.assets.earlier_version import earlier_version
from deploysim_assets.assets.registry_lines import adopt_line, registry_line
from deploysim_assets.assets.withheld_text import text_withheld
from deploysim_assets.automation import CHEAP
from deploysim_assets.deidentify.keys import load_keys
from deploysim_assets.io_manager import making, table_result
from deploysim_assets.logs import reader
from deploysim_assets.logs.calls import CallReader
from deploysim_assets.logs.conversation import Whose
from deploysim_assets.logs.conversations import REPEATED, Taken, read_conversations
from deploysim_assets.logs.earlier import EarlierReading
from deploysim_assets.logs.files import fingerprint, log_files
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.releases import MODELS
from deploysim_assets.schema import CONVERSATIONS, REJECTS
from deploysim_assets.storage import ledger
from deploysim_assets.storage.earlier import Earlier
from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.withdrawals import Withdrawals


def withdrawn_from(home: Path) -> Callable[[Whose], bool]:
    """Whether a conversation, or its user, was withdrawn; ProjectError where somebody was and the
    keys are missing."""
    withdrawn = Withdrawals.load(home)
    if not any(withdrawn):
        return lambda conversation: False
    keys = load_keys(home, may_create=False)

    def covers(conversation: Whose) -> bool:
        user = conversation.user_id
        named = keys.identify("conversation", conversation.conversation_id)
        return named in withdrawn.conversations or (
            user is not None and keys.identify("user", user) in withdrawn.users
        )

    return covers


def _earlier(lake: Lake, model: str) -> Earlier | None:
    """The current version, where a file that is as it was then would become what it became."""
    held = earlier_version(lake, "raw_logs", model, ("release",))
    if held is None:
        return None
    known = held.manifest.predicate["ledger"]["records"]
    since = ledger.read(lake.home)[known:]
    return None if any(record.kind in ("forget", "withdrawal") for record in since) else held


def _of_files(held: Earlier) -> EarlierReading:
    log_files = held.manifest.predicate["log_files"]
    return EarlierReading(log_files, held.scan(), held.scan("rejects"), REPEATED)


def read_release(lake: Lake, project: Project, model: str) -> dict[str, Any]:
    """Read the log files of a release into a new version of its table; what it says beside it.
    ProjectError where there are none, or nothing could be read. Files that are as they were when
    the version before was made are not read again."""
    source = project.release(model).logs
    read = reader(source.format)
    files = log_files(project.home, source.path)
    if not files:
        raise ProjectError(
            f"deploysim.yaml: releases: {model}: logs.path {source.path!r} matches no file below "
            f"{project.home}; put the logs there"
        )
    withdrawn = withdrawn_from(project.home)
    held = None if isinstance(read, CallReader) else _earlier(lake, model)
    with (
        text_withheld(),
        lake.new_version("raw_logs", model, CONVERSATIONS) as version,
    ):
        version.side_table("rejects", REJECTS)
        taken = Taken(_of_files(held), partial(held.give, version)) if held else None
        counts = read_conversations(
            files,
            read,
            model,
            version,
            consented=source.consent_basis is not None,
            withdrawn=withdrawn,
            earlier=taken,
        )
        spared = counts.pop("files_spared")
        version.log_files = counts["log_files"]
        version.stats |= {
            "fingerprint": fingerprint(files),
            "consent_basis": source.consent_basis,
            "reused": {"version": held.manifest.version, "log_files": spared}
            if held and spared
            else None,
            **counts,
        }
    return version.stats


@dg.asset(
    partitions_def=MODELS,
    deps=["log_files"],
    automation_condition=CHEAP,
    group_name="production_side",
    kinds={"parquet"},
    tags={"pii": "raw"},
)
def raw_logs(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> dg.MaterializeResult[None]:
    """Read the log files into the conversations table; lines that could not be read go to the
    side table `rejects` and are counted."""
    model = context.partition_key
    lake = making(context, lake, {"release": registry_line(project, model)})
    adopt_line(project, lake, model)
    shown = read_release(lake, project, model)
    # thousands of log files would swamp the event
    return table_result(lake, "raw_logs", model, shown | {"log_files": len(shown["log_files"])})
