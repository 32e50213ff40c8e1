"""The Codex command line as a client."""
