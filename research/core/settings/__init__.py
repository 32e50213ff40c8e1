"""Every threshold of the control plane with its unit and reason, in one place: a file for each room that decides by it.

Every other module asks SETTINGS here and need not know which file a field is in; no name is used twice. The parts, and
Settings itself, leave out the methods nobody calls, since writing them takes longer than reading all the values.
"""

from __future__ import annotations

from dataclasses import dataclass

from research.core.settings.agents import AgentSettings
from research.core.settings.report import ReportSettings
from research.core.settings.runs import RunSettings
from research.core.settings.search import SearchSettings
from research.core.settings.store import StoreSettings
from research.core.settings.verdict import VerdictSettings


@dataclass(frozen=True, repr=False, eq=False)
class Settings(StoreSettings, RunSettings, VerdictSettings, SearchSettings, AgentSettings, ReportSettings):
    """The thresholds; units are in the names, reasons next to the values."""


SETTINGS = Settings()
"""The values in use."""
