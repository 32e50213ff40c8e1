"""Initial values: each tensor's are its own, whatever else the model has."""

from __future__ import annotations

import torch

from research.benchmark.initial import InitialValues, hash_of

CPU = torch.device("cpu")


def test_a_layer_begins_alike_for_any_number_of_layers():
    few, many = (InitialValues(42, CPU).uniform("w", (3, 5), 0.1, layers=range(n)) for n in (2, 7))
    assert torch.equal(few, many[:2])
    assert not torch.equal(many[0], many[1])
    assert (few.abs() <= 0.1).all()
    one = InitialValues(42, CPU).uniform("w", (3, 5), 0.1, layers=[6])
    assert torch.equal(one[0], many[6])


def test_values_hang_on_seed_name_and_shape_and_on_nothing_drawn_before():
    def drawn(seed=42, name="w", shape=(64, 64), before=()):
        initial = InitialValues(seed, CPU)
        for other in before:
            initial.normal(other, (9,), 1.0)
        torch.rand(1)
        return initial.normal(name, shape, 2.0)

    first = drawn()
    assert first.shape == (64, 64)
    assert abs(first.std().item() - 2) < 0.1
    assert torch.equal(first, drawn(before=("a", "b")))
    assert torch.equal(first, InitialValues(42, CPU).normal("w", (64, 64), 1.0) * 2)
    for other in (drawn(seed=43), drawn(name="v"), drawn(shape=(64, 65))[:, :64]):
        assert not torch.equal(first, other)


def test_drawing_leaves_torchs_own_generator_alone():
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    InitialValues(1, CPU).normal("w", (5,), 1.0)
    assert torch.equal(torch.rand(3), wanted)


def test_a_hash_tells_values_order_shape_and_type_apart():
    w = torch.randn(6, 4)
    same = w.clone()
    swapped = w.flip(0)
    nudged = w.clone()
    nudged[5, 3] += 1e-6
    others = [swapped, nudged, w.view(4, 6), w.bfloat16(), torch.zeros(6, 4), torch.ones(6, 4), torch.zeros(())]
    assert hash_of(same) == hash_of(w)
    assert len({hash_of(t) for t in (w, *others)}) == len(others) + 1


def test_a_models_parameters_are_recorded_by_name():
    initial = InitialValues(42, CPU)
    model = torch.nn.Linear(3, 2)
    initial.record(model)
    before = dict(initial.hashes)
    with torch.no_grad():
        model.bias += 1
    initial.record(model)
    assert set(before) == {"weight", "bias"}
    assert [name for name in before if before[name] != initial.hashes[name]] == ["bias"]
