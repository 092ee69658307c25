"""Hostile files: a bad line costs a line, memory stays bounded, nothing is quoted, and what breaks
off keeps what came before."""

import gzip
import io
import json
import os
import signal
import subprocess
import time
import tracemalloc
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from deploysim_assets.benchmarks.fuzz_readers import fuzz
from deploysim_assets.benchmarks.log_samples import SAMPLES
from deploysim_assets.logs import files as files_room
from deploysim_assets.logs import reader
from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.logs.conversations import import_into, items, read_conversations
from deploysim_assets.logs.files import log_files
from deploysim_assets.logs.records import LARGEST, Problem, json_records
from deploysim_assets.project import ProjectError
from deploysim_assets.schema import CONVERSATIONS, REJECTS
from deploysim_assets.storage.tables import Lake
from deploysim_assets_tests.support import deploysim, environment, script

GOOD: dict[str, Any] = {
    "conversation_id": "c",
    "started_at": None,
    "messages": [{"role": "user", "content": "Hi"}],
}


def line(name: str, **more: Any) -> bytes:
    return json.dumps(GOOD | {"conversation_id": name} | more).encode() + b"\n"


def table(folder: Path, name: str = "openai_chat", pattern: str = "*") -> tuple[Any, Any, Any]:
    """Counts, rows and rejects, through the writer of raw_logs: what it takes is a table."""
    lake = Lake(folder.parent / f"{folder.name}-lake")
    with lake.new_version("raw_logs", "m", CONVERSATIONS, "run") as version:
        version.side_table("rejects", REJECTS)
        counts = read_conversations(log_files(folder, pattern), reader(name), "m", version)
    rejects = lake.scan("raw_logs", "m", table="rejects").collect().to_dicts()
    return counts, list(lake.rows("raw_logs", "m")), rejects


@pytest.mark.parametrize(
    "bad",
    [
        line("x", started_at="0001-01-01T00:00:00+14:00"),
        line("x", started_at="9999-12-31T23:59:59-14:00"),
        line("x", started_at="+99999-01-01T00:00:00Z"),
        line("x", started_at=10**400),
        line("x", messages=[{"role": "user", "content": "x", "at": "0001-01-01T00:00:00+14:00"}]),
        line("x").replace(b'"Hi"', b'"\\ud800"'),
        line("x").replace(b'"Hi"', b'"\xed\xa0\x80"'),
        line("x").replace(b'"Hi"', b'"a\x00b"'),
        line("x", messages=None),
        line("x", messages=[None]),
        line("x", messages=[{"role": "user", "content": [None]}]),
        line("x", messages=[{"role": "assistant", "tool_calls": [None]}]),
        line("x", messages=[{"role": "user", "content": 10**30}]),
        b"[" * 200_000 + b"\n",
        b'{"a":' * 200_000 + b"\n",
        b"\xff\xfe{\x00\n",
        b"NaN\n",
    ],
)  # fmt: skip
def test_a_bad_line_costs_a_line(tmp_path: Path, bad: bytes) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(line("a") + bad + line("b"))
    counts, rows, rejects = table(tmp_path / "in")
    assert [r["conversation_id"] for r in rows] == ["a", "b"]
    assert [(r["file"], r["line"]) for r in rejects] == [("a.jsonl", 2)]
    assert counts["rejected"] == 1


@pytest.mark.parametrize(
    "odd",
    [
        line("x", started_at="1066-10-14T00:00:00Z"),
        line("x", metadata={"n": 10**30, "deep": [[[1e400]]]}),
        line("x").replace(b'"Hi"', b'"a\\u0000b"'),
        b"\x00" * 4096 + line("x"),
        line("x")[:-1] + b"\r\n",
        line("x", n=float("nan")),
        line("x", source="\U0001f600" * 100),
    ],
)
def test_an_odd_line_costs_nothing(tmp_path: Path, odd: bytes) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + line("a") + odd + line("b"))
    _, rows, rejects = table(tmp_path / "in")
    assert rejects == []
    assert [r["conversation_id"] for r in rows] == ["a", "x", "b"]


@pytest.mark.parametrize("nothing", [None, [], {}, 0, "x", [None], [[]], [{}], {"spans": None}])
def test_null_spans_and_other_nothings_cost_a_record(tmp_path: Path, nothing: Any) -> None:
    for name in ("otel_genai", "openinference", "mlflow", "langfuse", "langsmith"):
        folder = tmp_path / name
        folder.mkdir()
        for file, content in SAMPLES[name]().items():
            (folder / file).write_bytes(content)
        before = table(folder, name)[1]
        keys = ("resourceSpans", "resourceLogs", "data", "spans", "observations", "info", "inputs",
                "traceId", "attributes", "trace", "runs", "traces", "context")  # fmt: skip
        broken = [{key: nothing} for key in keys]
        broken += [{"resourceSpans": [{"scopeSpans": [{"spans": nothing}]}]},
                   {"resourceSpans": [{"scopeSpans": nothing, "resource": nothing}]},
                   {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "t", "attributes": [
                       {"key": "gen_ai.request.model", "value": nothing},
                       {"key": "gen_ai.input.messages", "value": nothing}],
                       "events": nothing, "startTimeUnixNano": nothing}]}]}]}]  # fmt: skip
        (folder / "z.jsonl").write_bytes(b"\n".join(json.dumps(b).encode() for b in broken))
        after = table(folder, name)[1]
        assert [r["conversation_id"] for r in after] == [r["conversation_id"] for r in before]


class Endless(io.RawIOBase):
    """A line of so many bytes, and a good one behind it."""

    def __init__(self, size: int, byte: bytes, end: bytes) -> None:
        self._left, self._byte, self._end = size, byte, end

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        if self._left:
            count = min(len(into), self._left)
            into[:count] = self._byte * count
            self._left -= count
            return count
        count = min(len(into), len(self._end))
        into[:count], self._end = self._end[:count], self._end[count:]
        return count


@pytest.mark.parametrize("begin", [b"", b'[{"a": "', b'{"a":\n{"b": "'])
def test_a_line_of_600_mb_is_rejected_in_bounded_memory(begin: bytes) -> None:
    end = b'"},\n' + line("b") if begin else b"\n" + line("b")
    stream = io.BufferedReader(Endless(600_000_000, b"a", end), 1 << 20)
    if begin:
        chained = io.BufferedReader(Chained(begin, stream), 1 << 20)
        read = reader("agent_trajectories")
    else:
        chained, read = stream, reader("openai_chat")
    tracemalloc.start()
    try:
        found = list(read(chained))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "longer than 64 MB" in {f.reason for f in found if isinstance(f, Reject)}
    assert [f.conversation_id for f in found if isinstance(f, Conversation)] == ["b"]
    assert peak < 4 * LARGEST


class Chained(io.RawIOBase):
    def __init__(self, begin: bytes, rest: Any) -> None:
        self._begin, self._rest = begin, rest

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        read = self._begin[: len(into)] or self._rest.read(len(into))
        self._begin = self._begin[len(into) :]
        into[: len(read)] = read
        return len(read)


@pytest.mark.parametrize("ending", ["gz", "zst", "bz2", "xz"])
def test_a_file_that_breaks_off_keeps_what_came_before(tmp_path: Path, ending: str) -> None:
    import bz2
    import lzma

    lines = [line(f"c{n}", noise=os.urandom(200).hex()) for n in range(3000)]
    whole = b"".join(lines)
    packed = {
        "gz": gzip.compress,
        "zst": zstandard.ZstdCompressor().compress,
        "bz2": lambda raw: bz2.compress(raw, 1),
        "xz": lzma.compress,
    }[ending](whole)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"a.jsonl.{ending}").write_bytes(packed[: len(packed) * 2 // 3])
    (tmp_path / "in" / "b.jsonl").write_bytes(line("last"))
    counts, rows, rejects = table(tmp_path / "in")
    assert 500 < counts["conversations"] < 3000
    assert [r["conversation_id"] for r in rows[:-1]] == [f"c{n}" for n in range(len(rows) - 1)]
    assert rows[-1]["conversation_id"] == "last"
    assert "damaged or breaks off" in rejects[-1]["reason"]
    assert len(rejects) <= 2


def test_a_zstandard_file_of_several_frames_is_read_to_its_end(tmp_path: Path) -> None:
    """Appended logs: fsspec's reader stops after the first frame and says nothing."""
    frames = [zstandard.compress(line(f"c{n}")) for n in range(3)]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl.zst").write_bytes(b"".join(frames))
    assert table(tmp_path / "in")[0]["conversations"] == 3


def test_a_store_that_fails_is_not_a_file_that_breaks_off(tmp_path: Path) -> None:
    """An I/O error is no reason to go on with half of the logs."""
    (tmp_path / "a.jsonl").write_bytes(line("a"))
    (file,) = log_files(tmp_path, "*.jsonl")
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(ProjectError, match="see that the file is in reach"):
        list(items([file], reader("openai_chat")))


def test_a_bad_record_of_an_array_costs_a_record() -> None:
    record = {"conversations": [{"from": "human", "value": 'a "quote" \\ and [{'}]}
    good = json.dumps(record)
    for bad in ("{", "nonsense", '{"a": "x', '{"a": [1}', "{]}", '{"a": tru}', "[1, 2]", '"{"'):
        for between in (",\n", ",", "\n,\n"):
            array = "[" + between.join([good, bad, good, good]) + "]"
            found = list(reader("sharegpt")(io.BytesIO(array.encode())))
            whole = [f for f in found if isinstance(f, Conversation)]
            if "\n" in between or bad in ("nonsense", '{"a": tru}', "{]}", "[1, 2]", '"{"'):
                assert len(whole) == 3, (bad, between, found)
            assert len(found) >= 2


@given(st.lists(st.recursive(
    st.none() | st.booleans() | st.integers(-10**9, 10**9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).map(lambda v: {"v": v}), min_size=1, max_size=6), st.sampled_from([None, 1]), st.booleans(),
    st.integers(1, 9))  # fmt: skip
def test_records_are_split_as_json_reads_them(
    records: list[Any], indent: int | None, ascii_only: bool, chunk: int
) -> None:
    class Slow(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self._held = io.BytesIO(content)

        def readable(self) -> bool:
            return True

        def readinto(self, into: Any) -> int:
            size = chunk if self._held.tell() else 64
            read = self._held.read(min(size, len(into)))
            into[: len(read)] = read
            return len(read)

    def dumped(value: Any) -> str:
        return json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    lines = [json.dumps(r, ensure_ascii=ascii_only) for r in records]
    for content in (dumped(records), "\n".join(map(dumped, records)), "\n".join(lines)):
        found = list(json_records(io.BytesIO(content.encode())))
        assert [r for _, r in found] == records
        slow = io.BufferedReader(Slow(b"  " + content.encode()), 1 << 16)
        assert [r for _, r in json_records(slow)] == records


def test_a_broken_document_costs_one_reject_and_the_next_is_read() -> None:
    good = {"history": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
    text = json.dumps(good, indent=2)
    for documents in ([text, text.replace('"Hi"', '"Hi'), text], [text, text[:-9], text]):
        found = list(json_records(io.BytesIO("\n".join(documents).encode())))
        assert [f for _, f in found if not isinstance(f, Problem)] == [good, good]
        assert len(found) == 3
    array = json.dumps([good] * 3, indent=1)
    cut = array.index('"Hi"', len(array) // 3)
    found = list(json_records(io.BytesIO((array[:cut] + array[cut + 1 :]).encode())))
    assert [f for _, f in found if not isinstance(f, Problem)] == [good, good]
    assert len(found) == 3


def test_a_document_that_breaks_off_says_so() -> None:
    found = list(json_records(io.BytesIO(b'[{"a": 1}, {"b": ')))
    assert found[0] == (1, {"a": 1})
    assert isinstance(found[-1][1], Problem)


def test_a_row_with_a_time_out_of_range_costs_a_row(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}]
    rows = [{"conversation_hash": f"h{n}", "conversation": turns, "timestamp": at}
            for n, at in enumerate((0, 2**60, 10**15))]  # fmt: skip
    frame = pl.DataFrame(rows).with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))
    frame.write_parquet(tmp_path / "a.parquet")
    found = list(reader("wildchat")(io.BytesIO((tmp_path / "a.parquet").read_bytes())))
    assert [f.line for f in found if isinstance(f, Reject)] == [2]
    assert [f.conversation_id for f in found if isinstance(f, Conversation)] == ["h0", "h2"]


def test_two_files_without_ids_do_not_collide(tmp_path: Path) -> None:
    record = {"conversations": [{"from": "human", "value": "Hi"}]}
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "in" / f"{name}.json").write_text(json.dumps([record] * 5))
    counts, rows, _ = table(tmp_path / "in", "sharegpt")
    assert (counts["conversations"], counts["rejected"]) == (15, 0)
    assert {r["conversation_id"] for r in rows} == {
        f"{name}.json:{n}" for name in "abc" for n in range(1, 6)
    }


def test_2000_mutated_lines_crash_no_reader_hang_none_and_are_not_quoted() -> None:
    found = fuzz(lines=2_000, seed=5)
    assert found.wrong == []
    assert found.cleared + found.quarantined == found.conversations
    assert found.lines >= 2_000
    assert found.conversations > 100
    assert found.rejects > 100


def test_an_import_killed_at_any_point_is_run_again_to_the_same_table(tmp_path: Path) -> None:
    deploysim(tmp_path, "init")
    (tmp_path / "in").mkdir()
    record = SAMPLES["helicone"]()["output.jsonl"].splitlines()[0].decode()
    with (tmp_path / "in" / "a.jsonl").open("w") as out:
        out.writelines(record.replace("thread-9", f"t{n}").replace("q2", f"q{n}") + "\n"
                       for n in range(4000))  # fmt: skip
    command = [script("deploysim"), "import", "helicone", "in/*", "--model-version", "model-1"]
    for delay in (0.3, 1.2, 1.8, 2.4):
        process = subprocess.Popen(
            command, env=environment(tmp_path), cwd=tmp_path, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        whole = list((tmp_path / "logs/model-1").glob("*.jsonl"))
        assert all(len(p.read_bytes().splitlines()) == 4000 for p in whole), "whole or not there"
    deploysim(tmp_path, *command[1:])
    (target,) = (tmp_path / "logs/model-1").iterdir()
    first = target.read_bytes()
    target.unlink()
    deploysim(tmp_path, *command[1:])
    assert target.read_bytes() == first
    assert len(first.splitlines()) == 4000


def test_two_imports_of_the_same_logs_do_not_write_into_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(line("a"))
    files, target = log_files(tmp_path, "a.jsonl"), tmp_path / "out" / "imported.jsonl"
    import_into(target, files, reader("openai_chat"), lambda _: None)
    first = target.read_bytes()

    def second(_: int) -> None:
        with pytest.raises(ProjectError, match="another import is writing it"):
            import_into(target, files, reader("openai_chat"), lambda _: None)

    import_into(target, files, reader("openai_chat"), second)
    assert target.read_bytes() == first
    assert [p.name for p in target.parent.iterdir()] == ["imported.jsonl"]


def test_a_name_that_is_no_text_and_a_secret_in_a_url_stand_in_no_table(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    odd = os.fsencode(str(tmp_path / "in")) + b"/a\xff.json"
    with open(odd, "wb") as out:  # noqa: PTH123 (a name in bytes)
        out.write(b'{"conversations": [{"from": "human", "value": "Hi"}]}')
    _, rows, _ = table(tmp_path / "in", "sharegpt")
    assert rows[0]["log_file"] == "a\\xff.json"
    assert rows[0]["conversation_id"] == "a\\xff.json:1"
    store = fsspec.filesystem("memory")
    name = files_room._name(
        store, "/b/a.jsonl?day=1&X-Amz-Signature=abc&X-Amz-Credential=def", tmp_path
    )
    assert name == "memory:///b/a.jsonl?day=1&"
