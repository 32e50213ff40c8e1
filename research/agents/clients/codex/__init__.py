"""The Codex command line as a client: its driver, its editor for a night, and its checks for doctor."""
