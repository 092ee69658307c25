"""Data-quality suites per corpus (Great Expectations) and the checks on a forecast's order, as
Dagster asset checks."""
