"""From a published figure to the log lines that it rests on: score <- realized rate and forecast <-
counts <- each flagged item <- completion <- prefix <- conversation <- file and line."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl

from deploysim_assets.project import ProjectError
from deploysim_assets.project.installed import code
from deploysim_assets.storage import ledger
from deploysim_assets.storage.journal import lines
from deploysim_assets.storage.journals import journal_files
from deploysim_assets.storage.manifests import Manifest
from deploysim_assets.storage.tables import ANSWERS, SEEN_TURNS, Lake

CANDIDATE, PRODUCTION = "candidate", "production"
_FIGURES = {
    "calibration_report": (
        "multiplicative_error", "noise_floor", "resolved", "in_95", "prospective",
    ),
    "rate_estimates": ("n", "k", "rate", "forecast_median", "p95_low", "p95_high", "gate"),
    "realized_rates": ("n", "k", "rate", "low", "high"),
}  # fmt: skip


class Side(NamedTuple):
    """The tables that one side of a figure rests on, by the manifests of the versions used."""

    name: str
    grades: Manifest
    prefixes: Manifest
    completions: Manifest | None
    raw_logs: Manifest


class Trace:
    """Walks down from the tables that a report of a release prints."""

    def __init__(
        self,
        lake: Lake,
        model: str,
        grader_ids: Mapping[str, Mapping[str, str]],
        identify: Callable[..., str] | None,
    ) -> None:
        """`grader_ids` gives each grading's grader per behavior; `identify` makes the keyed hash
        of a conversation's id, where the key file is at hand."""
        self.lake, self.model = lake, model
        self._grader_ids, self._identify = grader_ids, identify
        self.published = {
            asset: manifest
            for asset in _FIGURES
            if (manifest := lake.manifest(asset, model)) is not None
        }
        if not self.published:
            raise ProjectError(
                f"{model}: nothing is published yet; run `deploysim forecast {model}`, or "
                f"`deploysim backfill {model}` once its logs are there"
            )
        score = self.published.get("calibration_report")
        for asset in ("rate_estimates", "realized_rates") if score else ():
            used = self._upstream(score, asset, model) if score else None
            if used is not None:
                self.published[asset] = used
        self.steps = self._closure()
        self.sides = [side for side in map(self._side, (CANDIDATE, PRODUCTION)) if side]

    def _closure(self) -> dict[tuple[str, str | None, str], Manifest]:
        """Every version that the published tables rest on, in the order of the walk down."""
        found: dict[tuple[str, str | None, str], Manifest] = {}
        ahead = list(self.published.values())
        while ahead:
            manifest = ahead.pop(0)
            where = (manifest.asset, manifest.partition, manifest.version)
            if where not in found:
                found[where] = manifest
                held = (
                    self.lake.manifest(i.asset, i.partition, i.version) for i in manifest.inputs
                )
                ahead += [one for one in held if one is not None]
        return found

    def _upstream(self, start: Manifest, asset: str, partition: str | None) -> Manifest | None:
        """The nearest version of an asset that another one rests on."""
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            manifest = ahead.pop(0)
            if (manifest.asset, manifest.partition) == (asset, partition):
                return manifest
            if manifest.digest not in seen:
                seen.add(manifest.digest)
                held = (
                    self.lake.manifest(i.asset, i.partition, i.version) for i in manifest.inputs
                )
                ahead += [one for one in held if one is not None]
        return None

    def _side(self, name: str) -> Side | None:
        published, asset = (
            ("rate_estimates", "grades")
            if name == CANDIDATE
            else ("realized_rates", "production_grades")
        )
        start = self.published.get(published)
        grades = start and self._upstream(start, asset, self.model)
        if not grades:
            return None
        completions = self._upstream(grades, "candidate_completions", self.model)
        live = next((i.partition for i in grades.inputs if i.asset == "deidentified_prefixes"), "")
        prefixes = self._upstream(grades, "deidentified_prefixes", live)
        raw = prefixes and self._upstream(prefixes, "raw_logs", live)
        return Side(name, grades, prefixes, completions, raw) if prefixes and raw else None

    def figures(self, behavior: str | None) -> dict[str, list[dict[str, Any]]]:
        """The published figures (of a behavior) by table."""
        found: dict[str, list[dict[str, Any]]] = {}
        for asset, manifest in self.published.items():
            rows = self.lake.rows(asset, self.model, manifest.version)
            wanted = ("behavior", "grading_id", *_FIGURES[asset])
            found[asset] = [
                {name: row[name] for name in wanted if name in row}
                for row in rows
                if behavior in (None, row["behavior"])
            ]
        return found

    def behaviors(self) -> list[str]:
        """The behaviors that some published table has a figure of."""
        rows = (row for rows in self.figures(None).values() for row in rows)
        return list(dict.fromkeys(row["behavior"] for row in rows))

    def items(self, behavior: str | None, *, text: bool = False) -> Iterator[dict[str, Any]]:
        """Each flagged item (of a behavior) on both sides, with everything it came through.

        ProjectError for a behavior that nothing published has.
        """
        known = self.behaviors()
        if behavior is not None and behavior not in known:
            raise ProjectError(
                f"{self.model}: no published figure of {behavior!r}; there are: {', '.join(known)}"
            )
        for side in self.sides:
            yield from self._items_of(side, [behavior] if behavior else known, text=text)

    def ids(self, most: int) -> Iterator[dict[str, Any]]:
        """Of each behavior and side with a flag: how many items, and the ids of the first `most` by
        prefix. No journal and no log is read."""
        for side in self.sides:
            grades = self._grades(side.grades)
            flags = [name for name in self.behaviors() if name in grades.collect_schema()]
            used = self._gradings()
            for name in flags:
                mine = grades.filter(pl.col(name), pl.col("grading_id").is_in(used)).select(
                    "prefix_id", "grading_id"
                )
                found = mine.sort("prefix_id").collect()
                if not found.height:
                    continue
                shown = found["prefix_id"].head(most).to_list()
                grader = self._grader_ids.get(found["grading_id"][0], {}).get(name)
                yield {
                    "behavior": name,
                    "side": side.name,
                    "flagged": found.height,
                    "grader_id": grader,
                    "items": self._ids_of(side, shown),
                }

    def _ids_of(self, side: Side, prefix_ids: list[str]) -> list[dict[str, Any]]:
        def column(manifest: Manifest | None, name: str) -> dict[str, Any]:
            if manifest is None:
                return {}
            mine = self._scan(manifest).filter(pl.col("prefix_id").is_in(prefix_ids))
            return dict(mine.select("prefix_id", name).collect().iter_rows())

        conversations = column(side.prefixes, "conversation_key")
        requests = column(side.completions, "request_key")
        return [
            {
                "prefix_id": one,
                "conversation_key": conversations.get(one),
                "request_key": requests.get(one),
            }
            for one in prefix_ids
        ]

    def _gradings(self) -> list[str]:
        """The gradings that the published figures were counted under."""
        rows = (row for rows in self.figures(None).values() for row in rows)
        return sorted({row["grading_id"] for row in rows if row.get("grading_id")})

    def _items_of(
        self, side: Side, behaviors: list[str], *, text: bool
    ) -> Iterator[dict[str, Any]]:
        grades = self._grades(side.grades)
        columns = set(grades.collect_schema())
        flags = [name for name in behaviors if name in columns]
        if not flags:
            return
        mine = grades.filter(
            pl.any_horizontal(flags), pl.col("grading_id").is_in(self._gradings())
        ).collect()
        ids = mine["prefix_id"].unique().to_list()
        prefixes = self._by_prefix(side.prefixes, ids)
        completions = self._by_prefix(side.completions, ids) if side.completions else {}
        asked = self._answers(side.grades, ids)
        served = self._served(side.completions, completions)
        places = self._places(side, {row["conversation_key"] for row in prefixes.values()})
        changed = [one["step"] for one in self.changed_since() if one["step"] in self._names(side)]
        for row in mine.iter_rows(named=True):
            prefix = prefixes.get(row["prefix_id"], {})
            completion = completions.get(row["prefix_id"])
            evidence: list[dict[str, Any]] = row["evidence"] or []
            said = {one["behavior"]: one for one in evidence}
            for name in flags:
                if not row[name]:
                    continue
                found = said.get(name, {})
                item: dict[str, Any] = {
                    "behavior": name,
                    "side": side.name,
                    "prefix_id": row["prefix_id"],
                    "flagged": True,
                    "grader_id": self._grader_ids.get(row["grading_id"], {}).get(name),
                    "grading_id": row["grading_id"],
                    "severity": found.get("severity"),
                    "confidence": found.get("confidence"),
                    "judge_request_keys": asked.get(row["prefix_id"], []),
                    "completion": completion and self._completion(side, completion, served),
                    "conversation_key": prefix.get("conversation_key"),
                    "turn_index": prefix.get("turn_index"),
                    "log": places.get(prefix.get("conversation_key") or ""),
                    "changed_since": changed,
                }
                if text:
                    reply = completion["message"] if completion else None
                    item["prefix"] = prefix.get("messages")
                    item["reply"] = reply or prefix.get("production_completion")
                yield item

    def _grades(self, manifest: Manifest) -> pl.LazyFrame:
        """Grades, with the flags of turns that were broken off after they had shown a behavior:
        rates count these, too."""
        grades = self._scan(manifest)
        if SEEN_TURNS not in manifest.predicate.get("schema", {}):
            return grades
        told = pl.element().filter(pl.element().struct.field("shown_at") > 0)
        shown = pl.col("shown").list.eval(told.struct.field("behavior"))
        broken = self._scan(manifest, SEEN_TURNS).filter(~pl.col("ended"))
        held = set(grades.collect_schema())
        of = ["prefix_id", "grading_id"]
        with_shown = grades.join(broken.select(*of, shown), on=of, how="left")
        flags = [
            pl.when(pl.col("shown").list.contains(name))
            .then(statement=True)
            .otherwise(pl.col(name))
            .alias(name)
            for name in self.behaviors()
            if name in held
        ]
        return with_shown.with_columns(*flags).drop("shown")

    def _scan(self, manifest: Manifest, table: str = "") -> pl.LazyFrame:
        return self.lake.scan(manifest.asset, manifest.partition, manifest.version, table)

    def _by_prefix(self, manifest: Manifest, ids: list[str]) -> dict[str, dict[str, Any]]:
        found = self._scan(manifest).filter(pl.col("prefix_id").is_in(ids)).collect()
        return {row["prefix_id"]: row for row in found.iter_rows(named=True)}

    def _answers(self, manifest: Manifest, ids: list[str]) -> dict[str, list[str]]:
        if ANSWERS not in manifest.predicate.get("schema", {}):
            return {}
        found: dict[str, list[str]] = {}
        rows = self._scan(manifest, ANSWERS).filter(pl.col("prefix_id").is_in(ids)).collect()
        for row in rows.iter_rows(named=True):
            found.setdefault(row["prefix_id"], []).append(row["key"])
        return found

    def _served(
        self, completions: Manifest | None, rows: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """What the journal knows of the answers: the model that was asked for, and the one that
        the server said it was."""
        import orjson

        wanted = {row["request_key"] for row in rows.values()}
        found: dict[str, dict[str, Any]] = {}
        for path in journal_files(self.lake.home, completions.asset) if completions else ():
            for body in lines(path):
                answer: dict[str, Any] = orjson.loads(body)
                if answer["key"] in wanted:
                    names = ("model", "reported_model", "system_fingerprint")
                    found[answer["key"]] = {name: answer.get(name) for name in names}
        return found

    def _completion(
        self, side: Side, row: Mapping[str, Any], served: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        assert side.completions is not None
        settings = side.completions.predicate["settings"]
        return {
            "request_key": row["request_key"],
            "requested_at": row["requested_at"] and row["requested_at"].isoformat(),
            "finish_reason": row["finish_reason"],
            "endpoint": settings.get("endpoint", {}).get("base_url"),
            **served.get(row["request_key"], {}),
        }

    def _places(self, side: Side, wanted: set[str]) -> dict[str, dict[str, Any]]:
        """File, line and digest of the log that each conversation was read from."""
        if self._identify is None or not wanted:
            return {}
        digests = {log["file"]: log["sha256"] for log in side.raw_logs.predicate["log_files"]}
        found: dict[str, dict[str, Any]] = {}
        columns = ["conversation_id", "log_file", "log_line"]
        raw = side.raw_logs
        for row in self.lake.rows("raw_logs", raw.partition, raw.version, columns):
            key = self._identify("conversation", row["conversation_id"])
            if key in wanted:
                file = row["log_file"]
                found[key] = {"file": file, "line": row["log_line"], "sha256": digests.get(file)}
        return found

    def sentinels(self) -> list[dict[str, Any]]:
        """By which sealed set, on which occasion, the judge of each side was watched."""
        records = {r.hash: r for r in ledger.read(self.lake.home) if r.kind == "sentinels"}
        found: list[dict[str, Any]] = []
        for side in self.sides:
            of = side.grades
            stats = self.lake.stats(of.asset, of.partition, of.version)
            for grading_id, facts in stats.get("gradings", {}).items():
                watched: dict[str, Any] = facts.get("sentinels", {})
                if (record := records.get(watched.get("record", ""))) is not None:
                    found.append(
                        {
                            "side": side.name,
                            "grading_id": grading_id,
                            "record": record.seq,
                            "sealed_at": record.at.isoformat(),
                            "items": len(record.body["items"]),
                            "drawn_from": record.body["source"],
                            "occasion": watched["occasion"],
                        }
                    )
        return found

    def log_files(self) -> list[dict[str, Any]]:
        """The log files that both sides rest on, by digest."""
        found = {
            log["file"]: log for side in self.sides for log in side.raw_logs.predicate["log_files"]
        }
        return list(found.values())

    def _names(self, side: Side) -> set[str]:
        tables = (side.grades, side.prefixes, side.completions, side.raw_logs)
        return {_named(table) for table in tables if table is not None}

    def changed_since(self) -> list[dict[str, Any]]:
        """What is not as it was: newer versions of what was used, and other code than it."""
        found: list[dict[str, Any]] = []
        for manifest in self.steps.values():
            pointer = self.lake.pointer(manifest.asset, manifest.partition) or {}
            if pointer.get("version") != manifest.version:
                newer = {"used": manifest.version, "current": pointer.get("version")}
                found.append({"step": _named(manifest), "what": "a newer version", **newer})
            if manifest.predicate["code"] != code():
                now = {"used": manifest.predicate["code"], "current": code()}
                found.append({"step": _named(manifest), "what": "other code", **now})
        return found


def _named(manifest: Manifest) -> str:
    return f"{manifest.asset}[{manifest.partition}]" if manifest.partition else manifest.asset
