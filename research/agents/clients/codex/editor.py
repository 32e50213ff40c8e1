"""Codex as a night's editor: the plan's brief goes to one fresh ``codex exec``, its commit comes back."""

from __future__ import annotations

from research.agents.clients.codex.driver import (
    WAITS,
    CodexDriver,
    CodexFailed,
    Task,
    Trouble,
    World,
    find_codex,
    launch_process,
)
from research.agents.night.editors import Candidate, NoCandidate, Order
from research.core import git
from research.core.errors import ConfigurationError
from research.lab.lab import Lab

_OUTSIDE = frozenset({*WAITS, Trouble.missing, Trouble.login, Trouble.timeout})
"""Troubles that are not the idea's."""


def _wait(order: Order, seconds: float) -> None:
    """Sleeps, less when the night is asked to end."""
    order.stop.wait(seconds)


class CodexEditor:
    """Asks Codex for one idea at a time.

    Args:
        lab: The lab whose repository gets the commits.

    Raises:
        ConfigurationError: if codex is not installed: better at once than at 3 a.m.
    """

    name = "codex"

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        if find_codex(lab.environment) is None:
            raise ConfigurationError("codex is not installed.", "Type: npm install -g @openai/codex && codex login")

    def edit(self, order: Order) -> Candidate:
        """See Editor."""
        plan, memory, root = order.plan, order.memory, self._lab.paths.root
        known = memory.incumbent or memory.baseline
        parent = git.resolve(root, plan.parent or (known.commit if known else "HEAD"))
        if parent is None:
            raise NoCandidate(f"the plan starts from {plan.parent}, which is not in this repository")
        brief = plan.details.get("brief") or plan.reason
        world = World(
            launch_process,
            sleep=lambda seconds: _wait(order, seconds),
            say=self._lab.say,
            stop=lambda: order.stop.requested() is not None,
        )
        try:
            found = CodexDriver(root, self._lab.environment, world).propose(Task(parent, brief, plan.emitter or "free"))
        except CodexFailed as failed:
            raise NoCandidate(str(failed), is_failure=failed.trouble in _OUTSIDE) from None
        return Candidate(found.commit, found.subject)
