"""What is said in the turns of tables: texts of replies and their steps, and whose results others'
rollouts were given."""

from collections.abc import Collection, Iterator

import polars as pl

from deploysim_assets.storage.tables import Lake
from deploysim_assets.storage.versions import scan_folder

_PREFIXES = "deidentified_prefixes"
_OF_OTHERS = ("library", "model")
"""Sources of results that rest on other conversations; a model may say an example again."""


def contents(messages: str | pl.Expr) -> pl.Expr:
    """The contents of a list of messages as one text."""
    listed = pl.col(messages) if isinstance(messages, str) else messages
    said = pl.element().struct.field("content")
    return listed.list.eval(said.drop_nulls()).list.join("\n")


def has_steps(reply: str, schema: pl.Schema) -> bool:
    """Whether a column of replies is of a release that kept steps."""
    dtype = schema.get(reply)
    return isinstance(dtype, pl.Struct) and any(f.name == "steps" for f in dtype.fields)


def said_in(reply: str, schema: pl.Schema) -> list[pl.Expr]:
    """What is said in a column of replies: in the last message, and in the steps before it."""
    last = pl.col(reply).struct.field("content").alias(f"{reply} last")
    steps = pl.col(reply).struct.field("steps")
    return [last, contents(steps).alias(f"{reply} steps")] if has_steps(reply, schema) else [last]


def borrowers(lake: Lake, prefixes: Collection[str]) -> frozenset[str]:
    """Other prefixes whose rollouts were given, as the result of a call, what only some prefixes'
    conversations hold: whoever takes those out takes out what was made of them."""
    given: list[pl.DataFrame] = []
    for _, _, folder in lake.whole_tables():
        frame = scan_folder(folder)
        if has_steps("message", frame.collect_schema()):
            steps = frame.select(_key(), step=pl.col("message").struct.field("steps"))
            listed = steps.explode("step").filter(
                pl.col("step").struct.field("source").is_in(_OF_OTHERS),
                ~pl.col("prefix_id").is_in(list(prefixes)),
            )
            given.append(listed.select("prefix_id", _content("step")).collect())
    borrowed = pl.concat(given).drop_nulls().unique() if given else pl.DataFrame()
    if borrowed.is_empty():
        return frozenset()
    mine = borrowed.join(_said_in_results(lake, prefixes, borrowed, theirs=True), "content", "semi")
    others = _said_in_results(lake, prefixes, mine, theirs=False)
    return frozenset(mine.join(others, "content", "anti")["prefix_id"])


def _said_in_results(
    lake: Lake, prefixes: Collection[str], among: pl.DataFrame, *, theirs: bool
) -> pl.DataFrame:
    """Which contents are results in the conversations of some prefixes, or in those of others."""
    is_theirs = pl.col("prefix_id").is_in(list(prefixes))
    wanted = is_theirs if theirs else ~is_theirs
    found = [
        results.filter(wanted, pl.col("content").is_in(among["content"].implode()))
        .select("content")
        .collect()
        for results in _results(lake)
    ]
    return pl.concat([pl.DataFrame(schema={"content": pl.String}), *found]).unique()


def _key() -> pl.Expr:
    return pl.col("prefix_id").str.extract(r"([0-9a-f]{16,})")


def _content(message: str) -> pl.Expr:
    return pl.col(message).struct.field("content").alias("content")


def _results(lake: Lake) -> Iterator[pl.LazyFrame]:
    """The results of tools in the conversations of prefixes: prefix_id, content."""
    for asset, _, folder in lake.whole_tables():
        frame = scan_folder(folder)
        schema = frame.collect_schema()
        if asset != _PREFIXES or not has_steps("production_completion", schema):
            continue
        steps = pl.col("production_completion").struct.field("steps")
        for messages in (pl.col("messages"), steps):
            listed = frame.select(_key(), message=messages).explode("message")
            is_result = pl.col("message").struct.field("role") == "tool"
            yield listed.filter(is_result).select("prefix_id", _content("message"))
