"""Which format log files have, told from their first records, and why."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportMissingTypeStubs=false

import codecs
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from deploysim_assets.logs.files import LogFile, is_damage
from deploysim_assets.logs.records import Problem, held, json_records, text
from deploysim_assets.logs.spans import Span, spans_of
from deploysim_assets.logs.tables import csv_names
from deploysim_assets.project import ProjectError

_RECORDS = 50
_FILES = 5


class Seen(NamedTuple):
    """A format, and what of the files says so. Never holds text of them."""

    format: str
    why: str


class _Sign(NamedTuple):
    format: str
    what: str
    holds: Callable[[Any], bool]


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda r: isinstance(r, dict) and set(names) <= r.keys()


def _span(test: Callable[[Span], bool]) -> Callable[[Any], bool]:
    return lambda r: any(test(s) for s in spans_of(r))


def _page(test: Callable[[Any], bool], *names: str) -> Callable[[Any], bool]:
    """A record, or a page of the interface that holds a list of them."""

    def holds(record: Any) -> bool:
        listed = held(record, *names)
        return test(record) or (isinstance(listed, list) and any(test(r) for r in listed))

    return holds


def _gen_ai(span: Span) -> bool:
    return any(k.startswith("gen_ai.") for k in span.attributes) or any(
        e["name"].startswith("gen_ai.") or any(k.startswith("gen_ai.") for k in e["attributes"])
        for e in span.events
    )


def _langfuse(record: Any) -> bool:
    if isinstance(held(record, "trace"), dict):
        return "observations" in record
    if isinstance(record, dict) and {"input", "output"} <= record.keys():  # rows of its pages
        return bool({"traceId", "trace_id"} & record.keys()) or {"userId", "sessionId"} <= (
            record.keys()
        )
    return isinstance(held(record, "observations"), list) or (
        text(record, "type") in ("GENERATION", "SPAN", "EVENT")
        and text(record, "traceId", "trace_id") is not None
    )


def _mlflow(record: Any) -> bool:
    return isinstance(held(record, "info"), dict) and (
        text(record["info"], "trace_id", "request_id") is not None
    )


_SIGNS = (
    _Sign("wildchat", "`conversation_hash` and `conversation`",
          _has("conversation_hash", "conversation")),
    _Sign("lmsys", "`conversation_id` and `conversation`",
          _has("conversation_id", "conversation")),
    _Sign("openai_chat", "`conversation_id` and `messages`", _has("conversation_id", "messages")),
    _Sign("swe_agent", "`history`", _has("history")),
    _Sign("tau_bench", "`traj`", _has("traj")),
    _Sign("inspect", "`eval` and `samples`", _has("eval", "samples")),
    _Sign(
        "openai_agents",
        "the `object` of a trace or a span",
        _page(lambda r: text(r, "object") in ("trace", "trace.span"), "data"),
    ),
    _Sign("sharegpt", "`conversations`", _has("conversations")),
    _Sign(
        "openai_batch",
        "`custom_id` and a request's `body` or a `response`",
        lambda r: _has("custom_id")(r) and bool({"body", "response"} & r.keys()),
    ),
    _Sign(
        "helicone",
        "`request_body` or `signed_body_url` of a request",
        _page(lambda r: isinstance(r, dict) and bool({"request_body", "signed_body_url"}
                                                     & r.keys()), "data"),
    ),
    _Sign("langsmith", "`run_type`", _page(_has("run_type"), "runs", "data")),
    _Sign("mlflow", "a trace's `info` with its id", _page(_mlflow, "traces")),
    _Sign("langfuse", "a trace's `observations`, or are some", _page(_langfuse, "data")),
    _Sign(
        "litellm",
        "`call_type` and `messages`",
        lambda r: _page(_has("call_type", "messages"), "data")(r)
        or _has("standard_logging_object")(r),
    ),
    _Sign(
        "openinference",
        "spans with `openinference.span.kind`",
        _span(lambda s: "openinference.span.kind" in s.attributes),
    ),
    _Sign("otel_genai", "spans or events with `gen_ai.` attributes", _span(_gen_ai)),
    _Sign(
        "agent_trajectories",
        "`messages` of a run",
        lambda r: _has("messages")(r)
        and not {"conversation_id", "call_type", "response", "request_id"} & r.keys(),
    ),
)  # fmt: skip
_COLUMNS = (
    ("wildchat", frozenset({"conversation_hash", "conversation"})),
    ("lmsys", frozenset({"conversation_id", "conversation"})),
    ("langsmith", frozenset({"run_type", "inputs", "outputs"})),
    ("mlflow", frozenset({"spans", "trace_id"})),
    ("langfuse", frozenset({"input", "output", "trace_id"})),
    ("langfuse", frozenset({"input", "output", "user_id", "session_id"})),
    ("langfuse", frozenset({"input", "output", "traceId"})),
    ("langfuse", frozenset({"input", "output", "userId", "sessionId"})),
    ("agent_trajectories", frozenset({"messages"})),
)


def detect(files: Sequence[LogFile]) -> Seen:
    """The format of files, told from the first of them; ProjectError where they are of none that
    is known, or look like two."""
    votes: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    why: dict[str, str] = {}
    looked = 0
    for file in [f for f in files if f.size][:_FILES]:
        with file.open() as stream:
            try:
                start = stream.peek(4)[:4]
            except Exception as wrong:
                if not is_damage(wrong):
                    raise
                continue
            if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise ProjectError(
                    f"{file.path}: is written in UTF-16; write it in UTF-8 (in PowerShell: "
                    "Out-File -Encoding utf8)"
                )
            if start == b"PAR1":
                seen = _by_columns(stream)
            elif start == b"PK\x03\x04":
                seen = Seen("inspect", "an archive (.eval)")
            elif (names := csv_names(stream)) is not None:
                seen = _of_columns("CSV", set(names))
            else:
                looked += (found := _by_records(stream)).total()
                for sign, times in found.items():
                    if sign is not None:
                        votes[sign.format] += times
                        counted[sign.format] += times
                        why[sign.format] = sign.what
                continue
            if seen:
                votes[seen.format] += _RECORDS
                why[seen.format] = seen.why
                counted[seen.format] = 0
    best = votes.most_common(2)
    if not best or (len(best) == 2 and best[0][1] == best[1][1]):
        said = " or ".join(name for name, _ in best)
        raise ProjectError(
            f"{files[0].path if files else 'no file'}: "
            + (f"looks like {said}" if said else "of no format that is known")
            + "; name its format instead of auto"
        )
    name = best[0][0]
    of = f"{counted[name]} of the first {looked} records have " if counted[name] else ""
    return Seen(name, f"{of}{why[name]}")


def _by_records(stream: Any) -> Counter[_Sign | None]:
    """How many of the first records bear which sign; None for those with none."""
    found: Counter[_Sign | None] = Counter()
    for _, record in itertools.islice(_parsed(stream), _RECORDS):
        found[next((s for s in _SIGNS if s.holds(record)), None)] += 1
    return found


def _parsed(stream: Any) -> Iterator[tuple[int, Any]]:
    return ((n, r) for n, r in json_records(stream) if not isinstance(r, Problem))


def _by_columns(stream: Any) -> Seen | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = set(pq.read_schema(stream).names)
    except (pa.ArrowException, OSError, ValueError):
        return None
    return _of_columns("Parquet", names)


def _of_columns(kind: str, names: set[str]) -> Seen | None:
    return next(
        (
            Seen(name, f"{kind} with {', '.join(f'`{c}`' for c in sorted(columns))}")
            for name, columns in _COLUMNS
            if columns <= names
        ),
        None,
    )
