"""Turns with tools done again: rollouts, what answers their calls, and how well.

Asks models through endpoint/; nothing that a candidate says is executed, opened or fetched.
"""
