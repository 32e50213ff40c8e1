"""Lets the built-in agent or a coding client edit train.py, and tells each what it needs to know."""
