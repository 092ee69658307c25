"""Plots, tables and the release report that a reviewer reads."""
