"""The statistics: pure numpy and scipy on sufficient statistics. No I/O, no Dagster, no Polars;
imports nothing else of ours."""
