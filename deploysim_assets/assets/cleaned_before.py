"""The conversations of a corpus whose cleaning stands in the version before, and those that must be
cleaned."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import polars as pl

from deploysim_assets.assets.earlier_version import earlier_version
from deploysim_assets.deidentify.earlier import EarlierCleaning, Taken, as_cleaned, with_draw
from deploysim_assets.deidentify.keys import Keys
from deploysim_assets.deidentify.prefixes import Drawn, Turn
from deploysim_assets.evidence.seals import Seals
from deploysim_assets.logs.sampling import TEXTS, Sampler, Survey
from deploysim_assets.storage import ledger
from deploysim_assets.storage.earlier import Earlier, stays
from deploysim_assets.storage.manifests import FORMAT, Manifest
from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.verified import verified_batches
from deploysim_assets.storage.versions import Version

BATCH = 2_000
_ASSET = "deidentified_prefixes"
_DETERMINE = ("deidentification", "agents", "ner_models", "keys")


class EarlierTable(NamedTuple):
    """The current version of deidentified_prefixes, what was cleaned for it, and for each row of
    raw_logs whether it stands in a file that the cleaning read."""

    table: Earlier
    cleaning: EarlierCleaning
    read: list[bool]

    @property
    def version(self) -> str:
        return self.table.manifest.version

    @classmethod
    def of(cls, lake: Lake, model: str, raw: str | None) -> Self | None:
        """None where there is none that was made with the same keys, policy, models and code."""
        plain = Lake(lake.base)  # what is compared here is no input
        table = earlier_version(lake, _ASSET, model, _DETERMINE)
        old = table and _raw_of(plain, table.manifest)
        new = plain.manifest("raw_logs", model, raw)
        if table is None or old is None or new is None or new.predicate["format"] != FORMAT:
            return None
        compared = stays(plain, old, new, Seals(ledger.read(lake.home)).expected)
        before: dict[str, bytes] = {}
        for path in compared.left:
            scan = pl.scan_parquet(path, hive_partitioning=False)
            for batch in scan.collect_batches(chunk_size=BATCH, maintain_order=True):
                for row in batch.iter_rows(named=True):
                    before[row["conversation_id"]] = as_cleaned(row)
        cleaning = EarlierCleaning(
            table.scan().select("conversation_key", "turn_index").collect(),
            table.scan("quarantine").collect(),
            before,
        )
        return cls(table, cleaning, [same for rows, same in compared.rows for _ in range(rows)])


def _raw_of(lake: Lake, manifest: Manifest) -> Manifest | None:
    """The manifest of the raw_logs that a version was made from, if it is there as it was."""
    for given in manifest.inputs:
        if given.asset == "raw_logs":
            held = lake.manifest(given.asset, given.partition, given.version)
            if held and held.digest == given.manifest and held.predicate["format"] == FORMAT:
                return held
    return None


def chosen(
    lake: Lake,
    model: str,
    raw: str | None,
    sampler: Sampler,
    found: Survey,
    keys: Keys,
    done: EarlierTable | None,
) -> Iterator[Drawn | Taken]:
    """The conversations of which turns are drawn, in order: taken from the version before, or to be
    cleaned. Only of the latter, and of those in files that changed, are texts looked at."""
    columns = [pl.all(), *sampler.survey_columns()[1:]]
    first = 0
    for batch in verified_batches(lake, "raw_logs", model, raw, columns, BATCH):
        light = enumerate(batch.drop(TEXTS).iter_rows(named=True))
        drawn = [(i, c, turns) for i, c in light if (turns := sampler.drawn(c, found))]
        taken: dict[int, Taken] = {}
        unsure: set[int] = set()
        for i, conversation, turns in drawn:
            held = done and done.cleaning.of(conversation, turns, keys)
            if done and held:
                taken[i] = held
                unsure |= set() if done.read[first + i] else {i}
        needed = [i for i, *_ in drawn if i not in taken or i in unsure]
        whole: dict[int, dict[str, Any]] = dict(
            zip(needed, batch[needed].iter_rows(named=True), strict=True)
        )
        for i, _, turns in drawn:
            row = whole.get(i)
            if row is None or (i in taken and done and done.cleaning.read_before(row)):
                yield taken[i]
            else:
                yield Drawn(row, turns)
        first += batch.height


class TakenRows:
    """Rows of the version before on their way into the next, many at a time."""

    def __init__(self, done: EarlierTable | None, version: Version) -> None:
        self._done, self._version = done, version
        self._numbers: list[int] = []
        self._draws: list[tuple[Turn, str | None]] = []

    def add(self, taken: Taken) -> None:
        """The rows of a conversation."""
        self._numbers += range(taken.start, taken.start + len(taken.turns))
        self._draws += [(turn, taken.surface) for turn in taken.turns]
        if len(self._numbers) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Hand them on: whatever comes next stands behind them."""
        if self._done is not None and self._numbers:
            rows = pl.concat(self._done.table.gathered(self._numbers))
            self._version.take(with_draw(rows, self._draws))
        self._numbers, self._draws = [], []
