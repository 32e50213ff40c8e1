"""Defines the search policies; research.search.policy makes them by name."""
