"""Codex's SessionStart hook: where the lab stands, also after a compaction. All of it is in research/agents/hooks."""

import _hook

_hook.run("SessionStart")
