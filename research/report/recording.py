"""Reads a night that scripts/record_demo.py wrote, without its machine, and plays it again for ``research demo``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from research.agents.night import state
from research.agents.night.state import NightState
from research.core.errors import ResearchError
from research.core.records import Judged, Run, Verdict
from research.report.data import PageData, RunRow, page_data
from research.report.progress import Curve, Progress
from research.report.watch import LiveView, RunInFlight
from research.report.write import curves_of
from research.store.rows import from_plain

DEMO = Path(__file__).parent / "demo" / "night.jsonl"
"""The night that is shipped."""
RULES_OF_NOW = "by the rules of now"
"""Words in the reason of a verdict that the present rules would not have given."""
NOTE = (
    "What was decided is what the night decided, by older rules; values, differences and P(better) are by the rules of"
    " now, so that a change may be discarded with P > 0.99."
)
"""The note about a recorded night with such a verdict."""
_LOOKS = (0.3, 0.6, 0.9)  # fractions of the budget at which a run that is played again is shown


@dataclass(frozen=True)
class Recording:
    """A recorded night."""

    night: NightState
    made_utc: str  # when it was recorded
    runs: Sequence[Run]  # in order of start
    verdicts: Sequence[Verdict]  # in order
    curves: Mapping[str, Curve]  # loss curves by run
    ahead: Mapping[str, Curve]  # losses minus the baseline's over the same rows, by kept run, where logs told them
    diffs: Mapping[str, str]  # differences of train.py by commit

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a reader of its verdicts has to know."""
        return (NOTE,) if any(RULES_OF_NOW in verdict.why for verdict in self.verdicts) else ()

    def data(self) -> PageData:
        """Return the data of the page at the end of the night."""
        data = self._data(self.verdicts, self.night, self.made_utc)
        curves = curves_of(
            data, lambda run: self.curves.get(run.run, ()), lambda run, _base: self.ahead.get(run.run, ())
        )
        return replace(data, notes=(*data.notes, *self.notes), diffs=self.diffs, curves=curves, is_recorded=True)

    def _data(self, verdicts: Sequence[Verdict], night: NightState, made_utc: str) -> PageData:
        seen: dict[str, list[tuple[int, Verdict]]] = {}
        for order, verdict in enumerate(verdicts, 1):
            seen.setdefault(verdict.run, []).append((order, verdict))
        judged = [judged_as_of(run, seen[run.run]) for run in self.runs if run.run in seen]
        return page_data(judged, night.branch, made_utc, night=night, launches=self.runs)

    def play(self) -> Iterator[LiveView]:
        """Yield the views that watch would have shown, a few for every run."""
        rows = {row.run.run: row for row in self.data().rows}
        firsts = {verdict.run: place for place, verdict in reversed(list(enumerate(self.verdicts)))}
        for number, place in enumerate(sorted(firsts.values())):  # before each run's first verdict
            said = self.verdicts[:place]
            made_utc = said[-1].created_utc if said else self.night.started_utc
            night = replace(self.night, runs=number, finished_utc=None, stop_reason=None)
            shown = replace(self._data(said, night, made_utc), is_night_on=True)
            best = shown.best.rows if shown.best else ()
            best_curve = next((self.curves[row.run.run] for row in best if row.run.run in self.curves), ())
            words = (f"a recorded one, {number} of {len(firsts)} runs",)
            for share in _LOOKS:
                flight = self._flight(rows[self.verdicts[place].run], share)
                yield LiveView(made_utc, shown, (flight,), best_curve, words)
        yield LiveView(self.made_utc, self.data(), night=(f"ended: {self.night.stop_reason}",))

    def _flight(self, row: RunRow, share: float) -> RunInFlight:
        run = row.run
        curve = tuple(point for point in self.curves.get(run.run, ()) if point[0] <= share)
        steps = round(run.metrics.num_steps * share) if run.metrics else 0
        progress = Progress("training", share, steps, curve[-1][1] if curve else None, curve=curve)
        return RunInFlight(run.run, row.title, run.emitter or "", run.wall_s * share, progress, True, run.started_utc)


def judged_as_of(run: Run, seen: Sequence[tuple[int, Verdict]]) -> Judged:
    """Return a run with the verdicts seen so far, each with its place among all."""
    order, verdict = seen[-1]
    return Judged(run, verdict, order, tuple((place, v.decision) for place, v in seen[:-1]))


def read_recording(path: Path = DEMO) -> Recording:
    """Read a recorded night.

    Raises:
        ResearchError: if it can't be read.
    """
    runs: list[Run] = []
    verdicts: list[Verdict] = []
    curves: dict[str, Curve] = {}
    ahead: dict[str, Curve] = {}
    diffs: dict[str, str] = {}
    try:
        first, *lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for line in lines:
            if "run" in line:
                runs.append(from_plain(Run, line["run"]))
                curves[runs[-1].run] = tuple((share, loss) for share, loss in line["curve"])
                ahead[runs[-1].run] = tuple((share, gap) for share, gap in line.get("ahead", ()))
            elif "verdict" in line:
                verdicts.append(from_plain(Verdict, line["verdict"]))
            else:
                diffs[line["diff"]] = line["text"]
        night = state.from_json(json.dumps(first["night"]))
        made_utc = str(first["made_utc"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResearchError(f"The recorded night can't be read ({error}).", f"git checkout {path}") from None
    if night is None:
        raise ResearchError("The recorded night is not whole.", f"git checkout {path}")
    return Recording(night, made_utc, runs, verdicts, curves, ahead, diffs)
