"""Runs the command on a remote GPU at Modal, with live output and nothing left behind."""
