"""Coding agents that can edit train.py, each behind the same interface."""
