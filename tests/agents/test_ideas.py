"""A person's ideas: tried before the planner's own, credited, and listed with what became of each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from research.store.open import read_store
from tests.support.nightkit import NIGHT, NightKit, make_night_kit

CODEX = """#!/bin/sh
# Stands in for codex exec: notes its order and halves a rate.
for word; do last=$word; done
printf '%s\\n' "$@" "$last" >> {heard}; cat >> {heard}
cd "$(printf '%s\\n' "$@" | sed -n '/^-C$/{n;p;}')" || exit 9
sed -i "s/^MATRIX_LR = .*/MATRIX_LR = 0.0123/" train.py
git -c user.name=c -c user.email=c@localhost commit -qm "exp: matrix rate 0.0123 [emitter=person]" -- train.py
"""


def listed(kit: NightKit) -> list[dict[str, Any]]:
    """The queue."""
    found = kit.research("idea")["ideas"]
    assert isinstance(found, list)
    return found


def test_a_value_is_tried_first_by_the_built_in_agent_and_words_wait_for_a_coding_agent(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", {"kind": "win", "by": -0.012}, "loss", "noise", "noise"])
    told = kit.research("idea", "try rotary embeddings on half of the heads")
    assert (told["schema"], told["ideas"][0]["status"]) == ("autoresearch.idea/1", "needs_agent")
    kit.research("idea", "DEPTH=6")
    kit.research("idea", "WARMDOWN = 0.4")
    assert [one["status"] for one in listed(kit)] == ["needs_agent", "waiting", "waiting"]
    kit.research(*NIGHT, "--max-runs", "5")
    second, third = kit.runs()[1:3]
    assert second.subject.startswith("exp: DEPTH 4 -> 6 [emitter=person]")
    assert (second.emitter, "DEPTH" in second.delta) == ("person", True)
    assert third.subject.startswith("exp: WARMDOWN")
    words, depth, warmdown = listed(kit)
    assert (depth["status"], depth["run"], depth["commit"]) == ("keep", second.run, second.commit)
    assert (warmdown["status"], warmdown["run"]) == ("discard", third.run)
    assert words["status"] == "needs_agent"
    text = kit.printed("idea").out
    assert "waits for a coding agent" in text
    assert "DEPTH=6\n     kept, 0.98" in text
    page = (kit.root / "results" / "report.html").read_text()
    shown = page.split("What you asked for")[1].split("</section>")[0]
    assert '#2</button> DEPTH=6 <span class="pill keep">kept</span>' in shown
    assert '#3</button> WARMDOWN = 0.4 <span class="pill drop">not kept</span>' in shown
    assert "half of the heads <span" in shown
    assert "night --max-runs 1 --backend scripted --agent codex" in re.sub("</?span>", "", page)


def test_a_coding_agent_gets_the_idea_in_its_order(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise"] * 3)
    heard, codex = tmp_path / "heard", tmp_path / "codex"
    codex.write_text(CODEX.replace("{heard}", str(heard)))
    codex.chmod(0o755)
    kit.environment["AUTORESEARCH_CODEX"] = str(codex)
    kit.research("idea", "a third of the matrix rate {not more}")
    kit.research(*NIGHT, "--agent", "codex", "--max-runs", "2")
    assert (
        'carry out what this person asks for, as one change: "a third of the matrix rate {not more}"'
        in heard.read_text()
    )
    (one,) = listed(kit)
    assert (one["status"], one["run"] is not None) == ("discard", True)


def test_an_idea_is_the_next_plan_at_once_and_where_none_is_pending(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise"] * 2)
    kit.research(*NIGHT, "--max-runs", "2")
    kit.research("autonomy", "on")
    assert kit.research("next")["plan"]["emitter"] != "person"
    kit.research("idea", "DEPTH=6")
    planned = kit.research("next")
    assert (planned["plan"]["pending"], planned["plan"]["emitter"]) == (True, "person")
    kit.research("autonomy", "off")  # which drops the plan
    told = kit.research("next")
    assert (told["plan"]["pending"], told["plan"]["emitter"]) == (False, "person")
    assert all("DEPTH=6" in one["prompt"] for one in (planned, told))


def test_what_cannot_be_tried_is_refused_or_listed_with_the_reason(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise"] * 4)
    refused = kit.research("idea", "DEPHT=6", code=1)["error"]
    assert refused == {"what": "train.py has no constant DEPHT.", "next": "Did you mean DEPTH?"}
    refused = kit.research("idea", "depth=6", code=1)["error"]
    assert refused == {"what": "train.py has no constant depth.", "next": "Did you mean DEPTH?"}
    assert kit.research("idea", "rotary = True", code=1)["error"]["what"] == "train.py has no constant rotary."
    for text in ("MATRIX_LR=)", "WARMDOWN=0.4, DEPTH=2", "WARMDOWN=0.4 and DEPTH=2"):
        assert "is no value that" in kit.research("idea", text, code=1)["error"]["what"]
    refused = kit.research("idea", "WINDOW_PATTERN=SSL", code=1)["error"]  # else a run ends in a NameError
    assert refused["what"] == "train.py knows no name SSL."
    assert refused["next"] == "If a text is meant, quote it: uv run research idea 'WINDOW_PATTERN=\"SSL\"'"
    assert kit.research("idea", "NORM=layer", code=1)["error"]["what"] == "train.py knows no name layer."
    refused = kit.research("idea", "ADAM_BETAS[1]=0.9", code=1)["error"]
    assert refused["what"] == "ADAM_BETAS holds several values, of which an idea can't set one."
    assert refused["next"] == "Give all of them: uv run research idea 'ADAM_BETAS=(0.8, 0.95)'"
    assert listed(kit) == []
    kit.research("idea", "DEPTH=4")
    kit.research(*NIGHT, "--max-runs", "2")
    (same,) = listed(kit)
    assert (same["status"], same["why"]) == ("dropped", "DEPTH=4: it has this value already")


def test_a_waiting_idea_is_withdrawn_and_what_was_tried_is_not(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise"] * 4)
    for text in ("DEPTH=6", "depth = twice of it", "WARMDOWN=0.4"):
        kit.research("idea", text)
    kit.research(*NIGHT, "--max-runs", "2")
    assert [one["status"] for one in listed(kit)] == ["discard", "needs_agent", "waiting"]
    with read_store(kit.paths) as store:
        pending = store.pending_plan()
    planned = pending.details.get("idea") if pending else None  # the loop by hand would be told of it
    for number in ("2", "3"):
        kit.research("idea", "--drop", number)
    assert [one["status"] for one in listed(kit)] == ["discard", "withdrawn", "withdrawn"]
    assert "depth = twice of it\n     withdrawn\n" in kit.printed("idea").out
    assert planned in ("2", "3")
    with read_store(kit.paths) as store:
        pending = store.pending_plan()
    assert "idea" not in pending.details
    for number in ("1", "2"):
        refused = kit.research("idea", "--drop", number, code=1)["error"]
        assert refused["what"] == f"Idea {number} does not wait any more."
    assert kit.research("idea", "--drop", "9", code=1)["error"]["what"] == "There is no idea 9."
    assert kit.research("idea", "--drop", "1", "DEPTH=5", code=2)["error"]["what"].startswith("An idea and --drop")
    assert len(kit.research(*NIGHT, "--max-runs", "1")["stop_reason"]) > 0
    assert [one["status"] for one in listed(kit)] == ["discard", "withdrawn", "withdrawn"]


def test_a_rebuilt_memory_has_the_queue_still(tmp_path: Path):
    kit = make_night_kit(tmp_path, ["noise", "noise", "noise"])
    kit.research("idea", "DEPTH=6")
    kit.research("idea", "WARMDOWN=0.4")
    kit.research(*NIGHT, "--max-runs", "2")
    before = listed(kit)
    kit.paths.memory.write_bytes(b"garbage" * 999)
    kit.research("record")
    assert listed(kit) == before
    assert [one["status"] for one in before] == ["discard", "waiting"]
