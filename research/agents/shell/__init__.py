"""A small reader of shell command lines: it runs nothing and judges nothing."""
