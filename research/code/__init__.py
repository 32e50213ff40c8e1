"""What a train.py is and what an edit of it changed, read from syntax trees. Nothing is executed."""
