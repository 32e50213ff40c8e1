"""Reads from syntax trees what a train.py does, and what an edit of it changed. Nothing is executed."""
