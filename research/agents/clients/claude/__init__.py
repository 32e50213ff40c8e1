"""Makes Claude Code a client."""
