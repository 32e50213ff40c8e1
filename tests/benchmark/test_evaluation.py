"""A score is the model's own and the same for any batch size; every way of cheating that we know ends in exit 4."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import prepare
from research.benchmark import corpus
from tests.support import cheats
from tests.support.reference_loader import reference_rows


@pytest.fixture
def tokenizer(at_home: Path) -> prepare.Tokenizer:
    return prepare.Tokenizer.from_directory()


def score_of(run: Path) -> dict:
    return json.loads((run / "score.json").read_text())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_honest_model_passes(tokenizer, at_home, capsys, dtype):
    val_bpb = prepare.evaluate_bpb(cheats.Honest(tokenizer.get_vocab_size(), dtype), tokenizer, 8)
    score = score_of(at_home)
    assert score["schema"] == "autoresearch.score/1"
    assert score["status"] == "scored"
    assert score["val_bpb"] == val_bpb
    assert score["probes"]["causal"]["check"] == score["probes"]["loss"]["check"] == "pass"
    assert max(score["probes"]["causal"]["shift_nats"].values()) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("cheat", cheats.CAUSAL_CHEATS + cheats.LOSS_CHEATS)
def test_a_cheat_is_caught(tokenizer, at_home, capsys, cheat):
    with pytest.raises(SystemExit) as end:
        prepare.evaluate_bpb(cheat(tokenizer.get_vocab_size()), tokenizer, 8)
    assert end.value.code == 4
    printed = capsys.readouterr()
    score = score_of(at_home)
    lines = printed.out.splitlines()
    assert lines[0] == "---"
    checks = dict(line.split(": ") for line in lines[1:])
    assert set(checks) == {"causal_check", "loss_check", "contract"}
    failed = "causal_check" if cheat in cheats.CAUSAL_CHEATS else "loss_check"
    assert checks[failed] == "fail"
    assert checks["contract"] == score["contract"]
    assert "probe" in printed.err
    assert score["status"] == "probe_failed"
    assert score["val_bpb"] is None
    assert score["audit_bpb"] is None


def test_a_failed_evaluation_is_not_mended_by_another(tokenizer, at_home, capsys):
    for cheat in (cheats.RemembersBatches, cheats.Honest):
        with pytest.raises(SystemExit) as end:
            prepare.evaluate_bpb(cheat(tokenizer.get_vocab_size()), tokenizer, 8)
        assert end.value.code == 4
        assert score_of(at_home)["status"] == "probe_failed"
    assert "has failed the probes before" in capsys.readouterr().err


def test_a_cross_entropy_that_is_put_in_place_of_torchs_is_seen(tokenizer, at_home, monkeypatch):
    honest = F.cross_entropy
    monkeypatch.setattr(F, "cross_entropy", lambda *args, **options: honest(*args, **options) - 0.02)
    with pytest.raises(SystemExit):
        prepare.evaluate_bpb(cheats.Honest(tokenizer.get_vocab_size()), tokenizer, 8)
    assert score_of(at_home)["probes"]["loss"]["check"] == "fail"


@pytest.mark.parametrize("cheat", [cheats.ScalesLoss, cheats.AnswersWithTheTargets])
def test_a_loss_cheat_alone_does_not_fail_the_causal_check(tokenizer, at_home, cheat):
    with pytest.raises(SystemExit):
        prepare.evaluate_bpb(cheat(tokenizer.get_vocab_size()), tokenizer, 8)
    assert score_of(at_home)["probes"]["causal"]["check"] == "pass"


def test_the_score_is_the_public_definition_over_the_public_rows(tokenizer, at_home):
    model = cheats.Honest(tokenizer.get_vocab_size())
    val_bpb = prepare.evaluate_bpb(model, tokenizer, 8)
    documents = prepare.Split(prepare.PROFILE, tokenizer, "val")
    T = prepare.MAX_SEQ_LEN
    rows = min(prepare.EVAL_TOKENS // T, documents.tokens // (T + 1))

    def batches():
        for found, epoch in prepare.document_batches(documents.shards):
            yield [tokens[start : start + length].tolist() for tokens, start, length in found], epoch

    nats, public, exact = 0.0, 0, 0
    reference = reference_rows(batches(), T + 1, 1000)
    for _ in range(rows):
        row = torch.tensor([next(reference)[0]])
        with torch.no_grad():
            losses = F.cross_entropy(model(row[:, :-1])[0], row[0, 1:], reduction="none").double()
        for token, loss in zip(row[0, 1:].tolist(), losses.tolist(), strict=True):
            if token < tokenizer.get_vocab_size() - 4:
                nats += loss
                public += len(tokenizer.decode([token]).encode("utf-8"))
                exact += len(tokenizer.enc.decode_single_token_bytes(token))
    score = score_of(at_home)
    assert score["rows"]["val"] == rows
    assert val_bpb == pytest.approx(nats / math.log(2) / public, rel=1e-6)
    assert score["val_bpb_exact"] == pytest.approx(nats / math.log(2) / exact, rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_the_rows_do_not_depend_on_the_batch_size(tokenizer, at_home, batch_size):
    model = cheats.Honest(tokenizer.get_vocab_size())
    shapes = set()

    def watched(x, y=None, reduction="mean"):
        shapes.add(tuple(x.shape))
        return model(x, y, reduction)

    documents = prepare.Split(prepare.PROFILE, tokenizer, "val")

    def score(answer, size):
        pace = prepare.integrity.Pace(prepare._clock, prepare.DEVICE)
        with torch.no_grad():
            return prepare.score_split(answer, tokenizer, documents, size, random.Random(0), pace)

    found, wanted = score(watched, batch_size), score(model, 8)
    assert found.rows == wanted.rows
    assert found.bpb == pytest.approx(wanted.bpb, rel=1e-7)
    assert shapes == {(batch_size, prepare.MAX_SEQ_LEN)}


def test_the_byte_tables_differ_where_a_token_is_no_utf8(tokenizer):
    public, exact = tokenizer.byte_table(exact=False), tokenizer.byte_table(exact=True)
    assert (exact <= public).all()
    lone = tokenizer.enc.encode_single_token(b"\x80")
    assert (exact[lone], public[lone]) == (1, 3)
    assert (exact[-4:] == 0).all()
    assert (public[-4:] == 0).all()


def test_missing_data_ends_in_exit_3_and_names_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AUTORESEARCH_HOME", str(tmp_path / "empty"))
    with pytest.raises(SystemExit) as end:
        prepare.make_ready(prepare.PROFILES["official"])
    assert end.value.code == 3
    assert "run uv run prepare.py" in capsys.readouterr().err


def test_an_unknown_profile_is_one_clear_line(capsys):
    with pytest.raises(SystemExit) as end:
        prepare.choose_profile("huge")
    assert end.value.code == 1
    assert capsys.readouterr().err == (
        "unknown profile 'huge': set AUTORESEARCH_PROFILE (or --profile) to official or pocket\n"
    )


def test_audit_and_validation_are_different_text(tokenizer, at_home):
    prepare.evaluate_bpb(cheats.Honest(tokenizer.get_vocab_size()), tokenizer, 8)
    score = score_of(at_home)
    assert score["audit_bpb"] != score["val_bpb"]
    assert score["rows"]["audit"] > 0


def test_changed_tokens_are_not_scored(tokenizer, at_home, tmp_path, capsys, monkeypatch):
    import shutil

    home = tmp_path / "home"
    shutil.copytree(prepare.PROFILE.root.parent, home)
    monkeypatch.setenv("AUTORESEARCH_HOME", str(home))
    path = prepare.tokens_folder(prepare.PROFILE, tokenizer) / "shard_06542.tokens.npy"
    raw = bytearray(path.read_bytes())
    raw[-2:] = b"\x05\x00"
    path.write_bytes(bytes(raw))
    with pytest.raises(SystemExit) as end:
        prepare.evaluate_bpb(cheats.Honest(tokenizer.get_vocab_size()), tokenizer, 8)
    assert end.value.code == 1
    assert "were changed" in capsys.readouterr().err


def test_a_model_that_diverged_ends_in_exit_5(tokenizer, at_home, capsys):
    model = cheats.Honest(tokenizer.get_vocab_size())
    with torch.no_grad():
        model.head.fill_(math.nan)
    with pytest.raises(SystemExit) as end:
        prepare.evaluate_bpb(model, tokenizer, 8)
    assert end.value.code == 5
    assert capsys.readouterr().out.strip() == "FAIL"


def test_the_contract_changes_with_what_a_score_depends_on(tokenizer, at_home, monkeypatch):
    name, parts = prepare.fingerprint(tokenizer)
    assert name.startswith("pocket-")
    assert len(name.removeprefix("pocket-")) == 12
    wanted = "profile time_budget_s data tokenizer rows prepare benchmark torch device offered"
    assert set(parts) == set(wanted.split())
    monkeypatch.setattr(prepare, "TIME_BUDGET", 7)
    other, _ = prepare.fingerprint(tokenizer)
    assert other.startswith("custom7-")
    assert other.removeprefix("custom7-") != name.removeprefix("pocket-")


def test_the_contract_covers_every_file_of_the_benchmark(tokenizer, monkeypatch):
    folder = Path(corpus.__file__).parent
    assert set(prepare._benchmark_sources) == {path.name for path in folder.glob("*.py")}
    name, _ = prepare.fingerprint(tokenizer)
    monkeypatch.setitem(prepare._benchmark_sources, "kernels.py", "")
    assert prepare.fingerprint(tokenizer)[0] != name


class TestReport:
    """What train.py says of itself is added to score.json, and what is odd about the run is said aloud."""

    @pytest.fixture(autouse=True)
    def scored(self, tokenizer, at_home):
        prepare.evaluate_bpb(cheats.Honest(tokenizer.get_vocab_size()), tokenizer, 8)

    def test_own_lines_of_the_summary(self, at_home):
        lines = prepare.report(uncounted_steps=11, loss_curve=[[0.5, 2.0]])
        assert list(lines) == [
            "val_bpb_exact", "epochs", "contract", "causal_check", "loss_check", "uncounted_seconds",
        ]  # fmt: skip
        reported = score_of(at_home)["reported"]
        parts = {"seed", "epochs", "uncounted_seconds", "loss_curve", "kernels", "initial_values"}
        assert set(reported) == parts
        assert reported["loss_curve"] == [[0.5, 2.0]]
        assert not any("audit" in key for key in lines)

    def test_too_many_uncounted_steps_are_reported(self, at_home, capsys):
        prepare.report(uncounted_steps=12)
        assert "12 steps" in capsys.readouterr().err
        assert score_of(at_home)["suspect"] == ["it left its first 12 steps uncounted, not 11"]

    def test_many_epochs_are_warned_of(self, at_home, capsys):
        prepare._score["data"]["epochs"] = 4.2
        prepare.report()
        assert "measures overfitting" in capsys.readouterr().err
