"""Chooses the next experiment: emitters, bandit, planner and policies."""
