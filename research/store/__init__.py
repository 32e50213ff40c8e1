"""The one room that speaks SQL: runs, plans, verdicts, events and the ledger. It keeps, and judges nothing."""
