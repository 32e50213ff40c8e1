"""Runs the unattended loop: plans, has an agent edit train.py, runs, judges, settles, until a limit is reached."""
