"""Operators of the compiled graph, and kernels that stand in for plain functions only where they give the same."""

from __future__ import annotations

import functools
import json

import pytest
import torch

from research.benchmark import kernels
from tests.benchmark.conftest import ROOT, run
from tests.support.trainer import load_train

ALL = {one.name for one in kernels.KERNELS}


def test_an_operator_fills_what_it_allocates_and_differentiates():
    @kernels.operator(lambda x: torch.empty_like(x), lambda dy, x, out: 2 * dy)
    def double(x, /, out):
        torch.mul(x, 2, out=out)

    x = torch.arange(3.0, requires_grad=True)
    y = double(x)
    y.sum().backward()
    assert y.tolist() == [0, 2, 4]
    assert x.grad.tolist() == [2, 2, 2]


def test_an_operator_takes_numbers_and_keeps_what_only_its_backward_needs_to_itself():
    @kernels.operator(
        lambda x, *_: (torch.empty_like(x), torch.empty_like(x)),
        lambda dy, _, x, n, scale, out, slope: (dy * slope, None, None),
    )
    def power(x, n: int, scale: float, /, out, _slope):
        torch.mul(x**n, scale, out=out)
        torch.mul(x ** (n - 1), n * scale, out=_slope)

    x = torch.tensor([2.0], requires_grad=True)
    y = power(x, 3, 0.5)
    y.backward()
    assert (y.item(), x.grad.item()) == (4, 6)


def test_an_edited_operator_has_another_name(tmp_path):
    """torch keeps compiled graphs on disk by the names of operators."""
    names = set()
    for i, factor in enumerate((2, 3, 3)):
        path = tmp_path / f"file{i}.py"
        path.write_text(f"def scale(x, /, out):\n    out.copy_(x * {factor})\n")
        space: dict = {}
        exec(compile(path.read_text(), str(path), "exec"), space)
        names.add(kernels.operator(torch.empty_like)(space["scale"])._name)
    assert len(names) == 2


def inputs() -> list[torch.Tensor | int]:
    return [torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True), 2]


def weighted_sum(a, b, k):
    return a + k * b


def test_functions_agree_but_for_rounding():
    kernels.check_agreement(lambda a, b, k: (b * k * (1 + 1e-3)) + a, weighted_sum, inputs())
    with pytest.raises(kernels.Disagreement, match="differ from the plain function's by"):
        kernels.check_agreement(lambda a, b, k: a + b, weighted_sum, inputs())


def test_functions_whose_gradients_differ_do_not_agree():
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b, k):
            return a + k * b

        @staticmethod
        def backward(ctx, dy):
            return dy, dy, None

    with pytest.raises(kernels.Disagreement):
        kernels.check_agreement(Wrong.apply, weighted_sum, inputs())


def test_where_there_is_no_triton_every_kernel_falls_back_to_plain_pytorch(capsys):
    table = torch.randn(5, 3, requires_grad=True)

    def model(tokens, targets):
        hidden = kernels.mlp(kernels.embedding(tokens, table).flatten(0, 1), table, table.T)
        return kernels.head_loss(hidden, table, targets, torch.tensor([0.5]), 15.0)

    kernels.check(model, 5, 4, torch.device("cpu"), ALL)
    assert kernels.used() == []
    assert capsys.readouterr().out.splitlines() == [
        f"kernel {name} is not used: there is no Triton for this device" for name in ("embedding", "head_loss", "mlp")
    ]
    assert torch.equal(kernels.embedding(torch.tensor([[3]]), table)[0, 0], table[3])


def test_kernels_that_differ_are_not_used_and_a_line_says_why(capsys, monkeypatch):
    """Kernels are played by plain functions here."""

    def more(one, *inputs):
        out = one.plain(*inputs)
        return tuple(1.1 * y for y in out) if isinstance(out, tuple) else 1.1 * out

    monkeypatch.setattr(kernels, "HAS_TRITON", True)
    monkeypatch.setattr(kernels, "INTERPRETED", True)
    for one in kernels.KERNELS:
        right = one.name in ("mlp", "qkv")
        monkeypatch.setattr(one, "fused", functools.partial(*((one.plain,) if right else (more, one))))
        monkeypatch.setattr(one, "run", one.plain)
    train = load_train(ROOT / "train.py", {"DEPTH": "2", "T": "32"})
    model = train.GPT(61, train.choose_attention([4, 32])[1])
    kernels.check(model, 61, 32, train.DEVICE, ALL - {"qkv"})
    assert kernels.used() == ["mlp"]  # qkv is not worth having on this card
    monkeypatch.setattr(kernels.qkv, "run", kernels.qkv.plain)
    capsys.readouterr()
    kernels.check(model, 61, 32, train.DEVICE, ALL)
    assert kernels.used() == ["mlp", "qkv"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["embedding", "head_loss", "norm_filter"]
    assert all("is not used: Disagreement: its answers differ from the plain function's by" in line for line in lines)


@pytest.mark.long
def test_the_kernels_give_what_plain_pytorch_gives(environment):
    pytest.importorskip("triton")
    done = run(ROOT / "tests" / "support" / "interpreted_kernels.py", environment, str(ROOT / "train.py"))
    assert done.returncode == 0, done.stdout + done.stderr
    errors = json.loads(done.stdout)
    assert max(errors.values()) < 1e-5, errors
