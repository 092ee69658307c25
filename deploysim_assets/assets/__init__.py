"""One file per artifact, in the order in which data flows: log_files, raw_logs,
deidentified_prefixes, preregistration, candidate_completions, grades, production_grades, (the SQL
models), realized_rates, rate_estimates, calibration_report, scorecard.
"""
