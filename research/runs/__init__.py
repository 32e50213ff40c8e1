"""Turns a commit into numbers: preflight, launching and watching, backends, reading a run's log."""
