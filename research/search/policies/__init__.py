"""The search policies, one file each; research.search.policy makes them by name."""
