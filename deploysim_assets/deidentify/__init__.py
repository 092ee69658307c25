"""De-identification: detect, replace, scan again, quarantine what could not be cleared."""
