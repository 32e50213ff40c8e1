"""Codex's UserPromptSubmit hook: what the person says about going on. All of it is in research/agents/hooks."""

import _hook

_hook.run("UserPromptSubmit")
