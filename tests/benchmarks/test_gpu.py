"""The GPU's script, as far as a CPU can tell."""

import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import headwise
from benchmarks import gpu, jobs

WANTED = gpu.Setting(precision="bf16", rtol=1e-2, wanted=3)
LINE = gpu.Line(
    shape="BERT",
    setting=WANTED,
    batched=2.5,
    single=20.0,
    busy=0.93,
    points=3.0,
    errors=np.array([1e-3]),
    memory=2**20,
)


@pytest.fixture
def no_job(monkeypatch):
    monkeypatch.setattr(gpu, "job", lambda folder, cuda, examples: f"job of {examples} pairs")


def test_without_a_cuda_device_it_says_so_and_takes_every_step(monkeypatch, capsys, no_job):
    monkeypatch.setattr("sys.argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    small = [replace(shape, examples=3, tokens=8) for shape in gpu.stand_ins()]
    monkeypatch.setattr(gpu, "stand_ins", lambda: small)
    assert gpu.main() == 2
    printed = capsys.readouterr()
    assert "no CUDA device here" in printed.err
    for wanted in ("tiny bert | bf16", "tiny llama | float32", "job of 16 pairs", "no time is"):
        assert wanted in printed.out


def test_a_line_has_times_errors_and_the_devices_share():
    shape = replace(gpu.stand_ins()[0], examples=3, tokens=8)
    low, single = gpu.measure(shape, lambda line: None)
    assert (low.setting.precision, single.setting.precision) == ("bf16", "float32")
    assert all(line.batched > 0 and line.single > 0 for line in (low, single))
    assert all(0 < line.busy <= 1 for line in (low, single))
    assert single.errors.max() < 3e-3
    assert low.errors.max() < 0.3  # bf16 has 8 bits
    assert low.missed() == []


def test_a_line_is_judged_by_its_time_and_by_the_devices_share():
    assert LINE.missed() == []
    assert replace(LINE, batched=3.2).missed() == ["BERT, bf16: 3.20 ms per example, wanted 3"]
    assert replace(LINE, busy=0.8).missed() == ["BERT, bf16: device busy 80%, wanted 90%"]
    unjudged = replace(LINE, busy=0.1, setting=replace(WANTED, wanted=None))
    assert unjudged.missed() == []
    assert "| 2.50 | <= 3 |" in gpu.row(LINE)
    assert "| 93% | >= 90% |" in gpu.row(LINE)


@pytest.mark.parametrize(("busy", "status"), [(0.95, 0), (0.5, 1)])
def test_the_exit_status_tells_whether_a_target_is_missed(
    monkeypatch, capsys, no_job, busy, status
):
    monkeypatch.setattr(gpu, "measure", lambda shape, log: [replace(LINE, busy=busy)])
    shape = gpu.stand_ins()[0]
    assert gpu.run([shape], 8, parallel=1, cuda=True) == status
    assert ("missed: BERT" in capsys.readouterr().out) == bool(status)


def test_overlapping_events_count_once():
    spans = [(5, 8), (0, 4), (1, 2), (3, 6), (10, 11)]
    events = [
        SimpleNamespace(time_range=SimpleNamespace(start=start, end=end)) for start, end in spans
    ]
    assert gpu.covered(events) == 9


def test_the_decoder_has_seven_billion_parameters():
    model = gpu.decoder(torch.device("meta"))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == pytest.approx(6.6e9, rel=0.02)


def test_a_gpu_gets_both_shapes_and_the_targets():
    base, large = gpu.shapes(256, 3, None)
    assert [(s.precision, s.rtol, s.wanted) for s in base.settings[:2]] == [
        ("bf16", 1e-2, 3),
        ("tf32", 1e-3, 8),
    ]
    assert [s.precision for s in large.settings] == ["bf16", "tf32"]
    assert (base.tokens, large.tokens) == (128, 128)


@pytest.mark.parametrize(
    "error",
    [ModuleNotFoundError("No module named 'celery'"), RuntimeError("the worker ended with 1")],
)
def test_a_job_that_cannot_run_leaves_the_shapes(monkeypatch, capsys, error):
    def job(*_):
        raise error

    monkeypatch.setattr(gpu, "measure", lambda shape, log: [LINE])
    monkeypatch.setattr(gpu, "job", job)
    assert gpu.run([gpu.stand_ins()[0]], 8, parallel=1, cuda=True) == 1
    assert f"missed: the job into SQLite: {error}" in capsys.readouterr().out


def test_a_job_whose_worker_has_ended_is_not_waited_for(monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    ended.wait()
    monkeypatch.setattr(jobs, "check", lambda raw, settings, database: raw)
    monkeypatch.setattr(jobs, "submit", lambda checked, database: 1)
    monkeypatch.setattr(jobs.job_reads, "get_job", lambda *_: SimpleNamespace(final=False))
    with pytest.raises(RuntimeError, match="ended with status 3"):
        jobs.job_cost(None, None, {}, [ended])


def test_the_jobs_model_knows_the_words_of_the_pairs(tmp_path):
    loaded = headwise.load(gpu._folder_of_model(tmp_path / "model", cuda=False))
    first = json.loads(gpu.PAIRS.read_text(encoding="utf-8").splitlines()[0])
    ids = loaded.tokenizer(first["premise"], first["hypothesis"])["input_ids"]
    assert loaded.tokenizer.unk_token_id not in ids
