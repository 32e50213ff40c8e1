"""Has a coding client edit for a night: the plan's brief goes to one fresh session, its commit comes back."""

from __future__ import annotations

from research.agents.clients.base import Client, Trouble
from research.agents.clients.driver import OUTSIDE, WAITS, Driver, NoProposal, Task, World, launch_process
from research.agents.night.editors import Candidate, NoCandidate, Order, Wait
from research.core import git
from research.core.commit_message import FREE
from research.core.errors import ConfigurationError
from research.lab.lab import Lab


class ClientEditor:
    """Asks a client for one idea at a time.

    Args:
        client: The client.
        lab: The lab whose repository gets the commits.

    Raises:
        ConfigurationError: if it is not installed: better at once than at 3 a.m.
    """

    def __init__(self, client: Client, lab: Lab) -> None:
        self.name = client.name
        self._client, self._lab = client, lab
        if client.program(lab.environment) is None:
            raise ConfigurationError(f"{client.name} is not installed.", f"Type: {client.install}")

    def edit(self, order: Order) -> Candidate:
        """See Editor."""
        plan, memory, lab = order.plan, order.memory, self._lab
        known = memory.incumbent or memory.baseline
        parent = git.resolve(lab.paths.root, plan.parent or (known.commit if known else "HEAD"))
        if parent is None:
            raise NoCandidate(f"the plan starts from {plan.parent}, which is not in this repository")
        world = World(launch_process, lab.say, lambda: order.stop.requested() is not None, lab.clock)
        task = Task(parent, plan.details.get("brief") or plan.reason, plan.emitter or FREE)
        try:
            found = Driver(self._client, lab.paths.root, lab.environment, world).propose(task)
        except NoProposal as failed:
            is_failure = failed.trouble in {*OUTSIDE, Trouble.timeout}
            wait = Wait(failed.limit_ends) if failed.trouble in WAITS else None
            raise NoCandidate(str(failed), is_failure, wait, failed.usage) from None
        return Candidate(found.commit, found.subject, found.usage)
