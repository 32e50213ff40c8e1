"""The real Claude Code in a lab, where it is installed, against the scripted model service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from research.agents.clients.claude import CLAUDE as CLIENT
from tests.support.labkit import Kit

CLAUDE = os.environ.get("AUTORESEARCH_CLAUDE") or shutil.which("claude")
needs_claude = pytest.mark.skipif(
    CLAUDE is None,
    reason=f"Claude Code is not installed: npm install @anthropic-ai/claude-code@{CLIENT.measured_with}, then set "
    "AUTORESEARCH_CLAUDE",
)


def settle_in(kit: Kit, url: str, is_subscriber: bool = False) -> None:
    """A home of its own in which Claude Code trusts the repository, and the model server that it asks."""
    home = kit.home / "claude"
    home.mkdir(exist_ok=True)
    project = {"hasTrustDialogAccepted": True}
    (home / ".claude.json").write_text(
        json.dumps({"hasCompletedOnboarding": True, "projects": {str(kit.root): project}})
    )
    key = {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-none"} if is_subscriber else {"ANTHROPIC_API_KEY": "none"}
    kit.environment |= {
        "AUTORESEARCH_CLAUDE": str(CLAUDE),
        "ANTHROPIC_BASE_URL": url.removesuffix("/v1"), "CLAUDE_CONFIG_DIR": str(home),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_MAX_RETRIES": "0",
        "IS_SANDBOX": "1",  # else root may not skip permissions
        **key,
    }  # fmt: skip


def claude_print(kit: Kit, prompt: str, *options: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """One claude -p in the repository."""
    assert CLAUDE is not None
    command = [
        CLAUDE, "-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions", *options
    ]  # fmt: skip
    return subprocess.run(
        command, cwd=kit.root, env=kit.environment, capture_output=True, text=True, timeout=timeout, input=prompt,
        check=False,
    )  # fmt: skip
