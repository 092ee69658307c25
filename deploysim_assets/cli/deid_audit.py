"""What `deploysim audit deid` measures and prints: recall on canaries and on marked texts, false
hits on clean ones. It prints counts, never text."""

from pathlib import Path
from typing import Self

from deploysim_assets.deidentify.audit import Cell, canary_recall, false_hits, more_canaries
from deploysim_assets.deidentify.canaries import NAMED
from deploysim_assets.deidentify.marked import read_marked, score
from deploysim_assets.deidentify.scrub import Scrubber
from deploysim_assets.project import CONFIG_FILE, Deidentification, ProjectError
from deploysim_assets.project.file import load_project
from deploysim_assets.report.plots import recall_plot
from deploysim_assets.report.tables import console, rich_table
from deploysim_assets.storage.homes import home_folder

LEAST = 0.99
_PIECE = 4_000


class DeidAudit:
    """The audit of one policy; the keys are its own, so that it can run anywhere."""

    def __init__(self, policy: Deidentification) -> None:
        self._policy = policy
        self._scrubber = Scrubber(b"audit" * 8, policy)
        self._out = console()
        self._what = f"level {policy.min_level}, profile {policy.profile}"

    @classmethod
    def of_project(cls, level: str | None, profile: str | None) -> Self:
        """As deploysim.yaml says, with what the command line says over it; ProjectError where
        this installation cannot."""
        home = home_folder()
        configured = (home / CONFIG_FILE).exists()
        policy = (
            load_project(home).deidentification if configured else Deidentification(min_level=0)
        )
        changed = {"min_level": int(level)} if level is not None else {}
        policy = policy.model_copy(update=changed | ({"profile": profile} if profile else {}))
        if why := policy.unreachable(home):
            raise ProjectError(f"{CONFIG_FILE}: {why}")
        return cls(policy.at(home).model_copy(update={"languages": None}))

    def canaries(self, seed: int, per_cell: int, plot: Path | None) -> list[Cell]:
        """Print recall by type; returns the cells of pattern types whose bound is below LEAST."""
        cells = [
            *canary_recall(self._scrubber, seed, per_cell),
            *more_canaries(self._scrubber, seed, per_cell),
        ]
        by_type: dict[str, list[Cell]] = {}
        for cell in cells:
            by_type.setdefault(_group(cell), []).append(cell)
        rows: list[list[str]] = []
        for kind, of in by_type.items():
            every = Cell(kind, "", "", sum(c.planted for c in of), sum(c.caught for c in of))
            rows.append(
                [
                    kind,
                    f"{every.planted:,}",
                    f"{every.caught / every.planted:.5f}",
                    f"{every.lower:.4f}",
                    f"{min(c.lower for c in of):.4f}",
                ]
            )
        self._out.print(
            rich_table(
                f"Canaries at {self._what}: recall, its lower 95% bound, and the lowest of a "
                "script and container",
                ("type", "planted", "recall", "bound", "lowest bound"),
                rows,
            )
        )
        below = [c for c in cells if c.lower < LEAST and c.type not in NAMED]
        for cell in below:
            self._out.print(
                f"below {LEAST}: {cell.type} in {cell.script} {cell.container}: {cell.caught} of "
                f"{cell.planted}, lower bound {cell.lower:.4f}"
            )
        if plot:
            plot.write_bytes(
                recall_plot(
                    [c._asdict() | {"lower": c.lower} for c in cells],
                    "De-identification: lower 95% bound of canary recall",
                )
            )
            self._out.print(f"plot: {plot}")
        return below

    def clean(self, folder: Path) -> None:
        """Print what is found in texts that hold no identifier."""
        texts = (
            p.read_text(encoding="utf-8", errors="replace")
            for p in sorted(folder.rglob("*"))
            if p.is_file()
        )
        found = false_hits(
            self._scrubber,
            (text[i : i + _PIECE] for text in texts for i in range(0, len(text), _PIECE)),
        )
        self._out.print(
            f"clean text at {self._what}: {found.per_megabyte:.1f} hits per MB over "
            f"{found.megabytes:.1f} MB {found.by_type}"
        )

    def against(self, path: Path) -> None:
        """Print how many of the marked spans are replaced whole."""
        found = score(self._scrubber, list(read_marked(path)))
        rows = [
            [
                row.type,
                f"{row.spans:,}",
                f"{row.recall:.3f}",
                f"{row.lower:.3f}",
                f"{row.touched / row.spans:.3f}" if row.spans else "-",
                f"{row.quarantined:,}",
            ]
            for row in found.rows
            if row.spans
        ]
        self._out.print(
            rich_table(
                f"{path.name} at {self._what}: marked spans replaced whole",
                ("type", "spans", "whole", "lower bound", "any part", "in quarantined texts"),
                rows,
            )
        )
        self._out.print(
            f"quarantined (counts as not covered): {sum(found.quarantined.values())} of "
            f"{found.texts} texts {found.quarantined or ''}"
        )


def _group(cell: Cell) -> str:
    if cell.script.startswith('"'):
        return f"{cell.type} under its key"
    return f"{cell.type} hidden" if cell.script == "hidden" else cell.type
