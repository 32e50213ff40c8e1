"""Joins the rooms: launch a run, import it, judge it, carry the verdict out in git, plan the next one."""
