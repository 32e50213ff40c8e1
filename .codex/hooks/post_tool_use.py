"""Codex's PostToolUse hook: the review of a run that has finished. All of it is in research/agents/hooks."""

import _hook

_hook.run("PostToolUse")
