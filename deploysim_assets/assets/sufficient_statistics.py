"""Rows of the SQL models -> the counts that the room `forecast` takes."""

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from deploysim_assets.forecast.counts import Counts
    from deploysim_assets.forecast.paired import Pairs


def counts_by_behavior(rates: pl.DataFrame, clusters: pl.DataFrame) -> "dict[str, Counts]":
    """Counts per behavior from the rows of rate_counts and flag_clusters of one grading."""
    from deploysim_assets.forecast.counts import Stratum, counts

    flags: dict[str, dict[str, dict[str, int]]] = {}
    for row in clusters.sort("behavior", "user_key", "stratum").iter_rows(named=True):
        flags.setdefault(row["behavior"], {}).setdefault(row["user_key"], {})[row["stratum"]] = row[
            "flags"
        ]
    strata: dict[str, list[Stratum]] = {}
    for row in rates.sort("behavior", "stratum").iter_rows(named=True):
        strata.setdefault(row["behavior"], []).append(
            Stratum(*(row[name] for name in ("stratum", "asked", "weight", "n", "k")))
        )
    return {behavior: counts(found, flags.get(behavior, {})) for behavior, found in strata.items()}


def pairs_by_behavior(counts: pl.DataFrame, clusters: pl.DataFrame) -> "dict[str, Pairs]":
    """Pairs per behavior from the rows of paired_counts and paired_clusters (or their self_
    twins) of one grading."""
    from deploysim_assets.forecast.paired import PairStratum, pairs

    flags: dict[str, dict[str, dict[str, tuple[int, int]]]] = {}
    for row in clusters.sort("behavior", "user_key", "stratum").iter_rows(named=True):
        flags.setdefault(row["behavior"], {}).setdefault(row["user_key"], {})[row["stratum"]] = (
            row["candidate_flags"],
            row["live_flags"],
        )
    strata: dict[str, list[PairStratum]] = {}
    for row in counts.sort("behavior", "stratum").iter_rows(named=True):
        fields = ("stratum", "weight", "n11", "n10", "n01", "n00")
        strata.setdefault(row["behavior"], []).append(PairStratum(*(row[name] for name in fields)))
    return {behavior: pairs(found, flags.get(behavior, {})) for behavior, found in strata.items()}
