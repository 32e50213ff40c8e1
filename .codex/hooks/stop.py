"""Codex's Stop hook: the next order. All of it is in research/agents/hooks."""

import _hook

_hook.run("Stop")
