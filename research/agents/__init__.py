"""Has train.py edited, by the built-in agent or a coding client, and shows each what it needs to know."""
