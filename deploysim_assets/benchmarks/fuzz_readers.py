"""Fuzzing of the readers and the scrubber: mutated lines of every format's sample.

Run: python -m deploysim_assets.benchmarks.fuzz_readers --lines 100000

No line may crash a reader, hold it up for more than a second, or be quoted in a reject's reason;
what is read must fit the conversations table, and go through the scrubber or be quarantined.
"""

import argparse
import io
import random
import re
import secrets
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import polars as pl

from deploysim_assets.benchmarks.log_samples import SAMPLES
from deploysim_assets.deidentify.scrub import Quarantined, Scrubber
from deploysim_assets.logs import READERS
from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.logs.openai_chat import line_of
from deploysim_assets.logs.records import UnreadableError
from deploysim_assets.project import Deidentification
from deploysim_assets.schema import CONVERSATIONS

SLOW = 1.0
"""Seconds of this thread's CPU: another's load does not count."""
_MARK = "Qz7"
_VALUES = (
    b"null", b"true", b"0", b"-1", b"1e400", b"NaN", b"123456789012345678901234567890", b'""',
    b"[]", b"{}", b"[null]", b"[[]]", b"[{}]", b'"\\ud800"', b'"\\u0000"',
    b'"9999-12-31T23:59:59-14:00"',
    b'"0001-01-01T00:00:00+14:00"', b'"{\\"role\\": 1}"', b'"[[[[[[["', b'{"role": "user"}',
    b'{"type": "tool_use"}', b'{"type": "image", "data": {"a": [1]}}', b"9223372036854775808",
    b'{"lc": 1, "kwargs": []}', b'[{"type": "thinking"}]', b'{"messages": {"messages": []}}',
)  # fmt: skip
_BYTES = (b"\x00", b"\xff", b"\xed\xa0\x80", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b"\n",
          b"\r",
          b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\\ud83d", b"1" * 400)  # fmt: skip


class Fuzzed(NamedTuple):
    """What was tried, and what went wrong: (format, seed, what)."""

    lines: int
    conversations: int
    rejects: int
    unreadable: int
    cleared: int
    quarantined: int
    slowest: float
    wrong: list[tuple[str, int, str]]


def mutated(line: bytes, draw: random.Random) -> bytes:
    """A line with one to four changes: values of JSON replaced, bytes flipped, cut, doubled, put
    in."""
    held = bytearray(line)
    for _ in range(draw.randint(1, 4)):
        if not held:
            break
        at = draw.randrange(len(held))
        match draw.randrange(8):
            case 0 | 1 | 2:
                _replace_value(held, at, draw)
            case 3:
                held[at] ^= 1 << draw.randrange(8)
            case 4:
                del held[at : at + draw.choice((1, 2, 16, len(held)))]
            case 5:
                end = min(len(held), at + draw.randint(1, 200))
                held[at:at] = held[at:end] * draw.choice((1, 1, 2, 50))
            case 6:
                held[at:at] = draw.choice(_BYTES)
            case _:
                held[at:at] = draw.choice((b"[", b'{"a":', b'"')) * draw.choice((1, 30, 3000))
    return bytes(held)


def _replace_value(held: bytearray, at: int, draw: random.Random) -> None:
    """The value behind the next colon as another one."""
    start = held.find(b": ", at)
    if start < 0:
        return
    start += 2
    ends = re.compile(rb'"(?:[^"\\]|\\.)*"?|[^,}\]]*', re.DOTALL).match(held, start)
    end = ends.end() if ends else start
    held[start:end] = draw.choice(_VALUES)


def _marked(sample: bytes) -> list[bytes]:
    """The sample's lines with a mark in the texts, by which a quotation is known."""
    marked = sample
    for word in (b"Oslo", b"thread-9", b"user-7", b"weather", b"rain", b"model-1", b"kind"):
        marked = marked.replace(word, word + _MARK.encode())
    return [marked] if sample[:1] == b"[" else marked.splitlines()


def _cases(lines: int, seed: int) -> Iterator[tuple[str, int, bytes]]:
    """Format, seed and content of each mutated line. Archives and Parquet are mutated as bytes."""
    samples = {name: [(file, content) for file, content in make().items()]
               for name, make in SAMPLES.items()}  # fmt: skip
    for number in range(lines):
        draw = random.Random(seed * 1_000_003 + number)  # noqa: S311 (a seeded benchmark)
        name = draw.choice(sorted(samples))
        file, content = draw.choice(samples[name])
        if file.endswith((".parquet", ".eval")):
            held = bytearray(content)
            for _ in range(draw.randint(1, 8)):
                held[draw.randrange(len(held))] = draw.randrange(256)
            yield name, number, bytes(held[: draw.choice((len(held), draw.randrange(len(held))))])
        else:
            parts = _marked(content)
            place = draw.randrange(len(parts))
            parts[place] = mutated(parts[place], draw)
            yield name, number, b"\n".join(parts)


def fuzz(lines: int, seed: int, scrubbed: int | None = None) -> Fuzzed:
    """Read `lines` mutated lines, and clear the first `scrubbed` conversations of what came of
    them (None is all)."""
    scrubber = Scrubber(secrets.token_bytes(32), Deidentification(min_level=0))
    found: Counter[str] = Counter()
    wrong: list[tuple[str, int, str]] = []
    slowest = 0.0
    for name, number, content in _cases(lines, seed):
        begun = time.thread_time()
        kept: list[Conversation] = []
        try:
            for item in READERS[name](io.BytesIO(content)):
                if isinstance(item, Reject):
                    found["rejects"] += 1
                    if _MARK in item.reason:
                        wrong.append((name, number, "a reason quotes the line"))
                else:
                    kept.append(item)
            rows = [c.row("m", "file") for c in kept]
            pl.DataFrame(rows, schema=CONVERSATIONS, strict=True)
            for c in kept:
                line_of(c, "file")
        except UnreadableError as why:
            found["unreadable"] += 1
            if _MARK in str(why):
                wrong.append((name, number, "an error quotes the file"))
        except Exception:  # noqa: BLE001 (that is what is looked for)
            wrong.append((name, number, traceback.format_exc(limit=-3)))
        took = time.thread_time() - begun
        slowest = max(slowest, took)
        if took > SLOW:
            wrong.append((name, number, f"took {took:.1f} s"))
        found["conversations"] += len(kept)
        for c in kept:
            if scrubbed is None or found["cleared"] + found["quarantined"] < scrubbed:
                slowest = max(slowest, _clear(c, scrubber, found, wrong, name, number))
    return Fuzzed(
        lines=lines,
        conversations=found["conversations"],
        rejects=found["rejects"],
        unreadable=found["unreadable"],
        cleared=found["cleared"],
        quarantined=found["quarantined"],
        slowest=slowest,
        wrong=wrong,
    )


def _clear(
    conversation: Conversation,
    scrubber: Scrubber,
    found: Counter[str],
    wrong: list[tuple[str, int, str]],
    name: str,
    number: int,
) -> float:
    begun = time.thread_time()
    messages: list[dict[str, Any]] = conversation.row("m")["messages"]
    try:
        scrubber.scrub(messages, "conversation", conversation.language)
        found["cleared"] += 1
    except Quarantined as why:
        found["quarantined"] += 1
        if _MARK in str(why):
            wrong.append((name, number, "a quarantine quotes the text"))
    except Exception:  # noqa: BLE001 (that is what is looked for)
        wrong.append((name, number, "scrubber: " + traceback.format_exc(limit=-3)))
    took = time.thread_time() - begun
    if took > SLOW:
        wrong.append((name, number, f"the scrubber took {took:.1f} s"))
    return took


def main() -> None:
    """Fuzz, print what was found, and fail where anything went wrong."""
    from deploysim_assets.report.tables import console, rich_table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun = time.perf_counter()
    found = fuzz(options.lines, options.seed)
    rows = [[k.replace("_", " "), f"{v:,}" if isinstance(v, int) else f"{v:.2f} s"]
            for k, v in found._asdict().items() if k != "wrong"]  # fmt: skip
    rows += [["wrong", str(len(found.wrong))], ["took", f"{time.perf_counter() - begun:.0f} s"]]
    console().print(rich_table(f"Mutated lines, seed {options.seed}", ("", ""), rows))
    for name, number, what in found.wrong[:20]:
        console().print(f"{name}, line {number}: {what}", markup=False)
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    main()
