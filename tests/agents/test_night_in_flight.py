"""Two workers: who proposes knows the code of the runs in flight, and the built-in agent makes another."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

from research.agents.night.editors import BuiltinEditor, ProposedCommit
from research.agents.night.jobs import Job
from research.agents.night.loop import RunningJob
from research.core.records import Plan
from research.lab.lab import Lab
from research.runs.backend import StopRequest
from research.runs.signals import Signals
from research.verdict.models import Memory
from tests.support.nightkit import NIGHT, make_night_kit


class Stubborn:
    """Asks the built-in agent once, and gives that candidate again and again."""

    name = "stubborn"

    def __init__(self, lab: Lab) -> None:
        self.editor, self.known = BuiltinEditor(lab), list[Memory]()
        self.candidate: ProposedCommit | None = None

    def edit(self, plan: Plan, memory: Memory, seed: int, stop: StopRequest) -> ProposedCommit:
        """See Editor."""
        self.known.append(memory)
        self.candidate = self.candidate or self.editor.edit(plan, memory, seed, stop)
        return self.candidate


def test_the_code_in_flight_is_known_and_not_run_twice(tmp_path: Path):
    kit = make_night_kit(tmp_path)
    kit.research(*NIGHT, "--max-runs", "2")
    lab = kit.lab()
    editor = Stubborn(lab)
    night = kit.loop(lab, kit.state(), editor=editor, workers=2)
    with lab.open() as store:
        night._store = store
        job = night._planned(0)
        code = night._code_of(job.commit)
        assert code not in editor.known[0].fingerprints
        night._going.append(RunningJob(Job("idea", job.commit, job.what, job.plan), 0, code, 42, Future()))
        night._planned(1)
        assert code in editor.known[1].fingerprints
        assert job.plan is not None
        again = editor.editor.edit(job.plan, editor.known[1], 0, Signals())
        assert night._code_of(again.commit) != code
