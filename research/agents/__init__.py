"""Who edits train.py, and what they are shown."""
