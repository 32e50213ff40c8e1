"""Time and money of runs for the page: how long was worked, what share of it trained, what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from research.agents.night.state import NightState
from research.core.records import Run
from research.core.settings import SETTINGS
from research.store.ledger import has_row

_Span = tuple[datetime, datetime]


def moment(at_utc: str) -> datetime | None:
    """A record's time, None when it can't be read."""
    try:
        return datetime.fromisoformat(at_utc.replace("Z", "+00:00"))
    except ValueError:
        return None


def seconds_of(run: Run) -> float:
    """Wall-clock seconds of a run, 0.0 when unknown."""
    begun, ended = moment(run.started_utc), moment(run.finished_utc or "")
    return max(0.0, (ended - begun).total_seconds()) if begun and ended else 0.0


def trained_seconds(run: Run) -> float:
    """Seconds that a run trained, as far as it said."""
    return run.metrics.training_seconds if run.metrics else run.phases_s.get("training", 0.0)


def wall_seconds(runs: Sequence[Run]) -> float:
    """Seconds from the first start to the last end, without the pauses in which nobody worked."""
    return sum(_length(block) for block in _blocks(runs))


def utilisation(runs: Sequence[Run]) -> float | None:
    """Share of the devices' working time that was spent training; None when unknown.

    Where several runs went on at once, as many devices were there to be used: two workers at best reach 1, not 2.
    """
    lent = sum(_length(block) * _most_at_once(block) for block in _blocks(runs))
    trained = sum(map(trained_seconds, runs))
    return min(1.0, trained / lent) if lent and trained else None


def _blocks(runs: Sequence[Run]) -> Iterator[list[_Span]]:
    """Stretches of work with the runs in them, parted by pauses in which nobody worked."""
    spans = sorted((b, e) for r in runs if (b := moment(r.started_utc)) and (e := moment(r.finished_utc or "")))
    block: list[_Span] = []
    for begun, ended in spans:
        if block and (begun - max(end for _, end in block)).total_seconds() > SETTINGS.pause_s:
            yield block
            block = []
        block.append((begun, max(begun, ended)))
    if block:
        yield block


def _length(block: Sequence[_Span]) -> float:
    return (max(end for _, end in block) - block[0][0]).total_seconds()


def _most_at_once(block: Sequence[_Span]) -> int:
    """Runs that went on at the same time, at most; one that begins as another ends takes its place."""
    going = most = 0
    for _, change in sorted([(begun, 1) for begun, _ in block] + [(ended, -1) for _, ended in block]):
        going += change
        most = max(most, going)
    return max(1, most)


def cost_of(launches: Sequence[Run], night: NightState | None) -> tuple[float | None, str]:
    """Dollars spent on a branch, None when nobody named a price; and where the figure comes from.

    Args:
        launches: Every run of the branch, counted or not.
        night: The latest night: its price an hour is taken for runs whose backend names no cost.
    """
    said = [run.cost_usd for run in launches if run.cost_usd is not None]
    price = night.limits.usd_per_hour if night else 0.0
    silent = [run for run in launches if run.cost_usd is None and has_row(run)] if price else []
    told = "as the backend says" if said else ""
    reckoned = f"at ${price:g} an hour" if silent else ""
    if not said and not silent:
        return None, "no price given (--usd-per-hour)"
    usd = sum(said) + sum(map(seconds_of, silent)) / 3600 * price
    return usd, " and ".join(part for part in (told, reckoned) if part)
