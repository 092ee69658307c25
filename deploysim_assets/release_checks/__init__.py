"""Checks on what is made of a corpus: replies, judges, forecasts, their freshness and evidence."""
