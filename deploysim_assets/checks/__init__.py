"""Checks on the corpora (Great Expectations), what waits behind them, and how any check is
declared."""
