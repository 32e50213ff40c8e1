"""Keeps runs, plans, verdicts, events and the ledger, in the one room that speaks SQL. It judges nothing."""
