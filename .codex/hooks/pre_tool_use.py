"""Codex's PreToolUse hook: what may be typed and patched. All of it is in research/agents/hooks."""

import _hook

_hook.run("PreToolUse")
