"""What to try next: emitters, bandit, planner, policies, and the simulator that shows what they are worth."""
