"""The archive: niches by what was measured, and a state that no order of arrival shows in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.verdict.archive import Added, Archive, Elite, niche_of


def elite(name: str, mean: float, niche: str = "a", n: int = 1) -> Elite:
    return Elite(niche, name, mean, n, None, f"exp: {name}", "optimizer", f"run-{name}")


@pytest.mark.parametrize(
    ("values", "niche"),
    [
        (("optimizer", 24.9, 19.9, 1, 1), "optimizer/tiny/lean/growing"),
        (("attention", 25.0, 20.0, 1, 2), "attention/small/balanced/shrinking"),
        (("batch", 75.0, 40.0, 2, 1), "batch/medium/heavy/growing"),
        (("batch", 150.0, 60.0, 0, 0), "batch/large/extreme/growing"),
        ((None, None, None, 0, 3), "unknown/unknown/unknown/shrinking"),
    ],
)
def test_niches(values: tuple[str | None, float | None, float | None, int, int], niche: str):
    assert niche_of(*values) == niche


def test_inserts_say_what_they_did():
    archive = Archive()
    assert archive.insert(elite("x", 0.99)) is Added.NEW
    assert archive.insert(elite("y", 0.98)) is Added.IMPROVED
    assert archive.insert(elite("z", 0.985)) is Added.REJECTED
    assert archive.insert(elite("w", 0.97, niche="b")) is Added.NEW
    assert [e.id for e in archive.elites] == ["w", "y"]
    assert (archive.count("a"), archive.counts) == (3, {"a": 3, "b": 1})


def test_an_elite_that_disappoints_gives_way():
    archive = Archive()
    archive.insert(elite("lucky", 0.98))
    archive.insert(elite("honest", 0.985))
    assert archive.insert(elite("lucky", 0.99, n=2)) is Added.REJECTED
    assert [e.id for e in archive.elites] == ["honest"]
    assert archive.insert(elite("honest", 0.984, n=2)) is Added.IMPROVED
    assert archive.count("a") == 2


def test_a_configuration_is_in_one_niche_only():
    archive = Archive()
    archive.insert(elite("x", 0.98))
    assert archive.insert(elite("x", 0.98, niche="b")) is Added.NEW
    assert archive.counts == {"b": 1}


ELITES = st.builds(
    elite,
    st.text("abcdefgh", min_size=1, max_size=2),
    st.floats(0.5, 1.5).map(lambda x: round(x, 2)),
    st.sampled_from(["a", "b", "c"]),
)


@given(st.lists(ELITES, unique_by=lambda e: e.id, max_size=12), st.randoms())
def test_the_order_of_independent_results_does_not_show(elites: list[Elite], rng: object):
    one, other, shuffled = Archive(), Archive(), list(elites)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    for each in elites:
        one.insert(each)
    for each in shuffled:
        other.insert(each)
    assert one.elites == other.elites
    assert one.counts == other.counts
    assert one == other


@given(st.lists(ELITES, max_size=20))
def test_every_elite_is_the_best_that_is_known_of_its_niche(elites: list[Elite]):
    archive, known = Archive(), {}
    for each in elites:
        archive.insert(each)
        known[each.id] = each
    for niche, count in archive.counts.items():
        members = [each for each in known.values() if each.niche == niche]
        assert len(members) == count
        assert archive.elite(niche) == min(members, key=lambda each: each.rank)
