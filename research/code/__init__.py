"""Reads what a train.py is and what an edit of it changed from syntax trees. Nothing is executed."""
