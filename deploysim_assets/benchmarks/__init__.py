"""Benchmarks that anyone can run: `python -m deploysim_assets.benchmarks.<name>`. Ratios
measured side by side in one run."""
