"""The report as a page that needs nothing beside itself, and as Markdown. Names, definitions and
findings are text that others wrote: they are shown, never read as markup."""

import re
from typing import Any

from deploysim_assets.report.facts import BANNER, ReleaseReport
from deploysim_assets.report.figures import Drawing, svg
from deploysim_assets.report.section import Section, Table
from deploysim_assets.report.sections import sections
from deploysim_assets.report.verdicts import overall


def html(report: ReleaseReport) -> str:
    """The report as one HTML page: no script, no other host."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
    from markupsafe import Markup

    def drawn(drawing: Drawing) -> Markup:
        return Markup(svg(drawing))  # noqa: S704 (matplotlib escapes its texts)

    environment = Environment(
        loader=PackageLoader("deploysim_assets.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    word, sentence = overall([b.verdict.model_dump() for b in report.behaviors])
    return environment.get_template("report.html").render(
        report=report,
        word=word,
        sentence=sentence,
        banner="" if report.evidence.verified else BANNER,
        sections=sections(report),
        svg=drawn,
    )


_SPECIAL = re.compile(r"([\\`*{}\[\]<>#|~!&]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z]))")


def escaped(text: str) -> str:
    """Text as Markdown shows it, whatever is in it."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _table(table: Table) -> str:
    ruler = ["---:" if i in table.figures else "---" for i in range(len(table.header))]
    rows = [
        [
            escaped_sentence(f"`{cell.text}`" if cell.kind in ("code", "id") else cell.text)
            if cell.kind != "name"
            else escaped(cell.text)
            for cell in row
        ]
        for row in table.rows
    ]
    lines = (list(map(escaped, table.header)), ruler, *rows)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _section(section: Section, level: str) -> str:
    parts = [f"{level} {section.title}"]
    parts += [escaped_sentence(sentence) for sentence in section.said]
    for table in section.tables:
        if table.rows:
            parts += [f"**{escaped(table.caption)}**", _table(table)]
    return "\n\n".join(parts)


_CODE = re.compile(r"(`[\w .,:=/-]+`)")
"""A command or a name of ours, between backticks. What others wrote may hold backticks, too: only
what cannot hold markup is left as it is."""


def escaped_sentence(sentence: str) -> str:
    """A sentence with its commands between backticks left as they are."""
    pieces = _CODE.split(" ".join(sentence.split()))
    return "".join(p if i % 2 else _SPECIAL.sub(r"\\\1", p) for i, p in enumerate(pieces))


def markdown(report: ReleaseReport) -> str:
    """The report as Markdown, without the figures."""
    parts = [f"# Release report: {escaped(report.model_version)}"]
    if not report.evidence.verified:
        parts.append(f"> **{BANNER}**")
    parts.append("Rates per 100,000 messages.")
    parts += [_section(section, "##") for section in sections(report)]
    return "\n\n".join(parts) + "\n"


def preview(report: ReleaseReport) -> list[str]:
    """The first parts of the Markdown, a text each, as Dagster's UI shows them at once."""
    verdict, *_ = sections(report)
    said: list[Any] = [escaped_sentence(sentence) for sentence in verdict.said]
    return ["\n\n".join(said), *(_table(table) for table in verdict.tables)]
