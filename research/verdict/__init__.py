"""Turns numbers into judgements: the posterior of all runs, the rule that decides, the review, and the memory."""
