"""A release's evidence in one file that anybody can hold together offline: the ledger, the
manifests that its records reach, the published tables and the report. No conversation text.
"""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl

from deploysim_assets.evidence.findings import Fault
from deploysim_assets.evidence.seals import RESTORE, Seals, order_faults, signature_faults
from deploysim_assets.project import ProjectError
from deploysim_assets.storage import disk, ledger
from deploysim_assets.storage.manifests import MANIFEST_TYPE
from deploysim_assets.storage.statements import parsed
from deploysim_assets.storage.tables import Lake

FORMAT = 1
TABLES = frozenset(
    (
        "rate_estimates", "realized_rates", "calibration_report", "rate_counts", "paired_counts",
        "production_rate_counts", "grader_drift",
    )
)  # fmt: skip
"""Tables that hold counts and rates alone, whose files go along."""
_PRINTED, _DRIFT = ("rate_estimates", "realized_rates", "calibration_report"), "grader_drift"
_CONTENTS = "bundle.json"
_REPORT = "report.json"
_KEY = "public-key.pem"
_BUNDLE = "bundle"
"""The kind of the records that seal the report of a bundle."""


def write_bundle(
    lake: Lake, model: str, report: Mapping[str, Any], out: Path, public_key: str | None
) -> dict[str, int]:
    """Write the bundle of a release, with the report's digest on the record; returns how many
    records, manifests and files are in it.

    ProjectError where the ledger holds nothing of the release.
    """
    records = ledger.read(lake.home)
    if not any(r.model_version == model and r.kind in ("forecast", "realized") for r in records):
        raise ProjectError(f"{model}: nothing of it is sealed yet; forecast or backfill it first")
    reported = orjson.dumps(report, option=orjson.OPT_INDENT_2)
    sealed = {"report": hashlib.sha256(reported).hexdigest()}
    newest = ledger.latest(lake.home, _BUNDLE, model)
    if newest is None or newest.body != sealed:
        ledger.append(lake.home, _BUNDLE, model, sealed)
        records = ledger.read(lake.home)
    manifests = dict(_reached(lake, model, Seals(records)))
    files: dict[str, bytes] = {}
    for path in (r.path for r in records):
        files[path.relative_to(lake.home).as_posix()] = disk.read(path)
    tables = 0
    for path, content in manifests.items():
        files[f"{path}/_MANIFEST.json"] = content
        asset = path.split("/")[1]
        if asset in TABLES:
            parts = (f for f in disk.names(lake.home / path) if f.suffix == ".parquet")
            for file in parts:
                files[file.relative_to(lake.home).as_posix()] = disk.read(file)
                tables += 1
    files[_REPORT] = reported
    keys = ledger.signing_keys(records)
    if pem := public_key or (keys[0][1] if keys else None):
        files[_KEY] = pem.encode()
    head = records[-1]
    contents = {
        "format": FORMAT,
        "model_version": model,
        "ledger": {"records": len(records), "head": head.hash, "at": head.at.isoformat()},
        "may_sign": [{"from_record": seq, "public_key": pem} for seq, pem in keys],
        "report_rests_on": report["evidence"]["manifests"]
        | ({_DRIFT: drift.digest} if (drift := lake.manifest(_DRIFT, model)) else {}),
    }
    files[_CONTENTS] = orjson.dumps(contents, option=orjson.OPT_INDENT_2)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            # a fixed time: equal evidence gives an equal file
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name])
    return {"records": len(records), "manifests": len(manifests), "table_files": tables}


def _reached(lake: Lake, model: str, seals: Seals) -> Iterator[tuple[str, bytes]]:
    """The manifests that the records of a release seal, and all that they rest on."""
    ahead = [
        path
        for path, (_, record) in seals.sealed.items()
        if record.model_version == model or f"model_version={model}/" in path
    ]
    seen: set[str] = set()
    while ahead:
        path = ahead.pop()
        content = lake.manifest_bytes(path)
        if path in seen or content is None:
            continue
        seen.add(path)
        yield path, content
        _, said = parsed(content, MANIFEST_TYPE)
        for given in said["inputs"]:
            folder = lake.folder(given["asset"], given["partition"]) / given["version"]
            ahead.append(folder.relative_to(lake.home).as_posix())


class Verified(NamedTuple):
    """What holding a bundle together came to."""

    model_version: str
    records: int
    head: str
    manifests: int
    table_files: int
    faults: list[Fault]
    not_checked: list[str]

    @property
    def holds(self) -> bool:
        return not self.faults


class Bundle:
    """A bundle as it lies in its file, without home, lake or keys."""

    def __init__(self, path: Path) -> None:
        """ProjectError for a file that is no bundle."""
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                self.files = {name: archive.read(name) for name in names}
            self.contents: dict[str, Any] = orjson.loads(self.files[_CONTENTS])
            self.model: str = self.contents["model_version"]
            whole = len(set(names)) == len(names) and self.contents["format"] == FORMAT
        except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile, zlib.error):
            whole = False
        if not whole:
            raise ProjectError(
                f"{path}: not a whole bundle that this deploysim reads; take the file that "
                "`deploysim audit bundle` wrote"
            )

    def verify(self, public_key: str | None = None, head: str | None = None) -> Verified:
        """Hold everything in it together; `public_key` and `head` are what the verifier knows from
        elsewhere."""
        records, broken = ledger.examine_files(self._ledger_files())
        seals = Seals(records)
        faults = [Fault(str(wrong), RESTORE, file="ledger") for wrong in broken]
        faults += signature_faults(records, public_key)
        for record in seals.of_kind("forecast"):
            faults += order_faults(seals, record)
        end = records[-1].hash if records else ""
        if end != self.contents["ledger"]["head"]:
            faults.append(Fault("does not end where the bundle says", RESTORE, file="ledger"))
        if head is not None and head not in {r.hash for r in records}:
            what = "does not hold the head that was kept elsewhere"
            faults.append(Fault(what, "ask for the whole ledger", file="ledger"))
        manifests = self._manifests(faults)
        faults += self._sealed(seals, manifests)
        tables = 0
        for path, (files, _) in manifests.items():
            for name, digest in files.items():
                if name not in self.files:
                    continue
                tables += 1
                if hashlib.sha256(self.files[name]).hexdigest() != seals.expected(name, digest):
                    faults.append(Fault("was changed after it was sealed", RESTORE, file=name))
            faults += self._added(path, files)
        faults += self._report_faults(seals, manifests)
        return Verified(
            self.model, len(records), end, len(manifests), tables, faults,
            self._not_checked(seals, manifests, public_key, head),
        )  # fmt: skip

    def _ledger_files(self) -> list[tuple[Path, bytes]]:
        old = [ledger.LEDGER_FILE] if ledger.LEDGER_FILE in self.files else []
        named = [*old, *sorted(n for n in self.files if n.startswith("ledger/"))]
        return [(Path(name), self.files[name]) for name in named]

    def _manifests(self, faults: list[Fault]) -> dict[str, tuple[dict[str, str], dict[str, Any]]]:
        found: dict[str, tuple[dict[str, str], dict[str, Any]]] = {}
        for name, content in self.files.items():
            if name.endswith("/_MANIFEST.json"):
                try:
                    found[name.removesuffix("/_MANIFEST.json")] = parsed(content, MANIFEST_TYPE)
                except ValueError:
                    faults.append(Fault("is not a whole manifest", RESTORE, file=name))
        return found

    def _digest(self, path: str) -> str:
        return hashlib.sha256(self.files[f"{path}/_MANIFEST.json"]).hexdigest()

    def _sealed(
        self, seals: Seals, manifests: Mapping[str, tuple[dict[str, str], dict[str, Any]]]
    ) -> Iterator[Fault]:
        vouched = {path: digest for path, (digest, _) in seals.sealed.items()}
        ahead = [path for path in vouched if path in manifests]
        while ahead:  # down from the records: a forged manifest vouches for nothing
            path = ahead.pop()
            if vouched[path] != self._digest(path):
                yield Fault("is not the manifest that was sealed", RESTORE, file=path)
                continue
            for given in manifests[path][1]["inputs"]:
                key = f"model_version={given['partition']}/" if given["partition"] else ""
                below = f"lake/{given['asset']}/{key}{given['version']}"
                if below not in vouched:
                    vouched[below] = given["manifest"]
                    ahead += [below] if below in manifests else []
        for path in manifests:
            if path not in vouched:
                yield Fault("no record vouches for it", RESTORE, file=path)
        for path, (digest, record) in seals.sealed.items():
            mine = record.model_version == self.model and path not in manifests
            if mine and seals.collected.get(path) != digest:
                yield Fault("is sealed and not in the bundle", "ask for it", file=path)

    def _added(self, path: str, files: Mapping[str, str]) -> Iterator[Fault]:
        for name in self.files:
            inside = name.startswith(f"{path}/") and not name.endswith("/_MANIFEST.json")
            if inside and name not in files:
                yield Fault("is in no manifest: it was added", "take it away", file=name)

    def _report_faults(
        self, seals: Seals, manifests: Mapping[str, tuple[dict[str, str], dict[str, Any]]]
    ) -> Iterator[Fault]:
        """The report's figures against the tables that it says it rests on."""
        try:
            report: dict[str, Any] = orjson.loads(self.files[_REPORT])
        except (KeyError, ValueError):
            yield Fault("is missing or damaged", "ask for the whole bundle", file=_REPORT)
            return
        yield from self._other_report(seals, report)
        shown = {row["behavior"]: row for row in report.get("behaviors", [])}
        by_digest = {self._digest(path): path for path in manifests}
        for asset, digest in self.contents["report_rests_on"].items():
            path = by_digest.get(digest)
            if path is None:
                yield Fault(f"rests on a {asset} that is not here", "ask for it", file=_REPORT)
                continue
            if asset == _DRIFT:
                yield from self._drift_faults(seals, report, list(self._rows(path)))
                continue
            held: dict[str, list[dict[str, Any]]] = {}
            for row in self._rows(path):
                held.setdefault(row["behavior"], []).append(row)
            if asset == "rate_estimates" and (left_out := held.keys() - shown.keys()):
                what = f"says nothing of {', '.join(sorted(left_out))}"
                yield Fault(what, "take the bundle's tables for right", file=_REPORT)
            for name, printed in shown.items():
                figures = _printed(asset, printed)
                rows = held.get(name, [])
                if figures and not any(
                    all(row.get(column) == value for column, value in figures.items())
                    for row in rows
                ):
                    what = f"{name}: its figures are not those that {asset} holds"
                    yield Fault(what, "take the bundle's tables for right", file=_REPORT)
        yield from self._broken_off_faults(seals, shown)

    def _other_report(self, seals: Seals, report: Mapping[str, Any]) -> Iterator[Fault]:
        """A report that is not the one that was sealed with the bundle, of another release, or held
        against fewer tables than the ledger seals."""
        sealed = seals.of_kind(_BUNDLE, self.model)
        found = hashlib.sha256(self.files[_REPORT]).hexdigest()
        if sealed and sealed[-1].body["report"] != found:
            what = "is not the report that was sealed with the bundle"
            yield Fault(what, "ask for the whole bundle", file=_REPORT, record=sealed[-1].seq)
        if report.get("model_version") != self.model:
            yield Fault("is the report of another release", "ask for the right one", file=_REPORT)
        for asset in _PRINTED:
            newest = seals.newest.get(f"lake/{asset}/model_version={self.model}")
            if newest is not None and asset not in self.contents["report_rests_on"]:
                what = f"rests on no {asset}, which record {newest.seq} seals"
                yield Fault(what, "ask for the whole bundle", file=_CONTENTS)

    def _broken_off_faults(
        self, seals: Seals, shown: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[Fault]:
        """What the report says of turns that were broken off, against what was sealed."""
        sealed: dict[str, list[dict[str, Any]]] = {}
        for record in seals.of_kind("forecast", self.model):
            for row in record.body["rows"]:
                sealed.setdefault(row["behavior"], []).append(row.get("broken_off") or {})
        for name, printed in shown.items():
            said: dict[str, Any] = printed.get("broken_off") or {}
            held = sealed.get(name, [])
            if held and not any(
                bool(one) == bool(said) and all(one.get(k) == v for k, v in said.items())
                for one in held
            ):
                what = f"{name}: says something else of broken-off turns than was sealed"
                yield Fault(what, "take the ledger's record for right", file=_REPORT)

    def _drift_faults(
        self, seals: Seals, report: Mapping[str, Any], held: list[dict[str, Any]]
    ) -> Iterator[Fault]:
        """What the report says of the judge: no more and no less than the table holds."""
        sides = report.get("judge", {}).values()
        shown = [row for side in sides for row in side["drift"]]
        mine = [row for row in shown if row["model_version"] == self.model]
        registered = {r.body["grading_id"] for r in seals.of_kind("registration", self.model)[-1:]}
        hidden = [r for r in held if r["drifted"] and r["grading_id"] in registered]
        if any(row not in held for row in mine) or any(row not in shown for row in hidden):
            what = "says something else of the judge than grader_drift holds"
            yield Fault(what, "take the bundle's tables for right", file=_REPORT)

    def _rows(self, path: str) -> Iterator[dict[str, Any]]:
        parts = sorted(n for n in self.files if n.startswith(f"{path}/part-"))
        for part in parts:
            rows = pl.read_parquet(io.BytesIO(self.files[part])).iter_rows(named=True)
            yield from rows

    def _not_checked(
        self,
        seals: Seals,
        manifests: Mapping[str, tuple[dict[str, str], dict[str, Any]]],
        public_key: str | None,
        head: str | None,
    ) -> list[str]:
        held = sum(name in self.files for files, _ in manifests.values() for name in files)
        every = sum(len(files) for files, _ in manifests.values())
        said = [
            f"{every - held} of {every} files that the manifests name are not in a bundle (texts, "
            "answers, grades): `deploysim audit ledger` reads them where they are",
            "log files, journals and the files of deploysim.yaml: only their digests are here",
        ]
        if not seals.of_kind(_BUNDLE, self.model):
            said.append(
                "verdicts, precision, counts of replies and summary of the report: an earlier "
                "deploysim wrote the bundle, which sealed its tables alone"
            )
        if not ledger.signing_keys(seals.records):
            said.append("who wrote the ledger: it is not signed")
        elif public_key is None:
            said.append(
                "whether the signing key is the right one: it came with the bundle; give "
                "--public-key with the key that you have from elsewhere"
            )
        if head is None:
            said.append(
                "whether records at the end, or the whole ledger, were set back: give --head with "
                "a head that you kept"
            )
        return said


def _printed(asset: str, behavior: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a table, by column, that a behavior's part of the report prints."""
    if asset == "realized_rates":
        return dict(behavior["realized"] or {})
    if asset == "calibration_report":
        names = ("multiplicative_error", "noise_floor", "resolved", "in_50", "in_80", "in_95")
        found = {name: behavior.get(name) for name in names}
        return found if any(value is not None for value in found.values()) else {}
    found = {name: behavior[name] for name in ("n", "k", "rate")}
    if behavior["forecast"]:
        found["forecast_median"] = behavior["forecast"]["median"]
        for level in (50, 80, 95):
            limits = behavior["forecast"][f"p{level}"]
            found |= dict(zip((f"p{level}_low", f"p{level}_high"), limits, strict=True))
    return found if found["n"] is not None else {}
