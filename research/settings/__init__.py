"""Every threshold of the control plane with its unit and reason, in one place: a file for each room that decides by it.

Every other module asks SETTINGS here and need not know which file a field is in; no name is used twice. The parts, and
Settings itself, leave out the methods nobody calls, since writing them takes longer than reading all the values.
"""

from __future__ import annotations

from dataclasses import dataclass

from research.settings.agents import AgentSettings
from research.settings.memory import MemorySettings
from research.settings.runs import RunSettings
from research.settings.search import SearchSettings
from research.settings.store import StoreSettings
from research.settings.verdict import VerdictSettings
from research.settings.views import ViewSettings


@dataclass(frozen=True, repr=False, eq=False)
class Settings(
    StoreSettings, RunSettings, VerdictSettings, MemorySettings, SearchSettings, AgentSettings, ViewSettings
):
    """The thresholds; units are in the names, reasons next to the values."""


SETTINGS = Settings()
"""The values in use."""
