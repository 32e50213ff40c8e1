"""Joins the rooms: launches a run, imports it, judges it, carries the verdict out in git, plans the next one."""
