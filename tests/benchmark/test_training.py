"""What prepare.py lends a training script: operators, the choice of a kernel, the watch over a run."""

from __future__ import annotations

import gc

import pytest
import torch

import prepare


def doubled(shape):
    @prepare.operator(shape, lambda dy, x, out: 2 * dy)
    def double(x, /, out):
        torch.mul(x, 2, out=out)

    return double


def test_an_operator_fills_what_it_allocates_and_differentiates():
    x = torch.arange(3.0, requires_grad=True)
    y = doubled(lambda x: torch.empty_like(x))(x)
    y.sum().backward()
    assert y.tolist() == [0, 2, 4]
    assert x.grad.tolist() == [2, 2, 2]


def test_an_operator_keeps_what_only_its_backward_needs_to_itself():
    @prepare.operator(
        lambda x, n: (torch.empty_like(x), torch.empty_like(x)), lambda dy, _, x, n, out, slope: (dy * slope, None)
    )
    def power(x, n: int, /, out, _slope):
        torch.pow(x, n, out=out)
        torch.mul(x ** (n - 1), n, out=_slope)

    x = torch.tensor([2.0], requires_grad=True)
    y = power(x, 3)
    y.backward()
    assert (y.item(), x.grad.item()) == (8, 12)


def test_an_operator_with_other_shapes_has_another_name_and_so_do_those_after_it(monkeypatch):
    def names(shape):
        monkeypatch.setattr(prepare, "_operators_so_far", 0)
        return doubled(shape)._name, doubled(lambda x: torch.empty_like(x))._name

    first, after_first = names(lambda x: x.new_empty(4))
    second, after_second = names(lambda x: x.new_empty(5))
    assert len({first, second, after_first, after_second}) == 4


def test_an_operator_that_only_moved_keeps_its_name(monkeypatch):
    texts = ["f = lambda x: [x.new_empty(n) for n in (1, 2)]", "\n\nf = lambda x: [x.new_empty(n) for n in (1, 2)]"]
    meanings = []
    for i, text in enumerate(texts):
        place = {}
        exec(compile(text, f"file{i}.py", "exec"), place)
        meanings.append(repr(prepare.meaning(place["f"].__code__)))
    assert meanings[0] == meanings[1]


def chosen(makers):
    inputs = torch.randn(2, 3, 4, requires_grad=True)
    return prepare.choose("sum", makers, lambda a, b, k: a + k * b, inputs, [(1,), (2,)])


def missing():
    raise ImportError("no such package")


def test_the_first_way_that_agrees_is_chosen_and_the_others_say_why_not(capsys):
    right = {"right": lambda: lambda a, b, k: k * b + a}
    name, function = chosen({"missing": missing, "wrong": lambda: lambda a, b, k: a + b} | right)
    assert name == "right"
    assert function(1, 2, 3) == 7
    said = capsys.readouterr().out
    assert "sum missing is not used: ImportError: no such package" in said
    assert "sum wrong is not used: ValueError: its answers differ from the reference's by" in said


def test_a_way_with_wrong_gradients_is_not_chosen(capsys):
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b, k):
            return a + k * b

        @staticmethod
        def backward(ctx, dy):
            return dy, dy, None

    with pytest.raises(SystemExit):
        chosen({"wrong": lambda: Wrong.apply})
    assert "no sum works here (wrong)" in capsys.readouterr().err


def test_a_reference_that_takes_other_inputs_is_taken_itself(capsys):
    """As when somebody gives the plain function weights of another shape than the kernel knows."""

    def reference(a):
        return a.reshape(5, 5)

    right = {"kernel": lambda: lambda a: a}
    assert (
        prepare.choose("sum", right, reference, torch.ones(1, 3, requires_grad=True), otherwise=reference)[1]
        is reference
    )
    assert "sum kernel is not used: RuntimeError: shape '[5, 5]' is invalid" in capsys.readouterr().out


def test_a_watch_keeps_every_loss_and_ends_a_run_that_diverges(capsys, request):
    watch = prepare.Watch(tokens_per_step=10, uncounted_steps=1)
    request.addfinalizer(gc.enable)
    watch.read(1, 0.0, torch.tensor(3.0))
    watch.read(2, 0.5, torch.tensor(2.0))
    assert watch.curve == [(0.0, 3.0), (0.5, 2.0)]
    with pytest.raises(SystemExit) as ended:
        watch.read(3, 0.6, torch.tensor(float("nan")))
    assert ended.value.code == prepare.EXIT_DIVERGED
    assert "step 3 is nan" in capsys.readouterr().err
