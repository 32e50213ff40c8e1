"""Chooses what to try next: emitters, bandit, planner and policies."""
