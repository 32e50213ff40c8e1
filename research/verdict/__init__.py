"""From numbers to a judgement: the posterior of all runs, the rule that decides, the review, and what is remembered."""
