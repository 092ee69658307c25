"""The command line: conveniences over Dagster, and the operations and the demo behind them."""
