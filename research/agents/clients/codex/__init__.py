"""Makes the Codex command line a client."""
