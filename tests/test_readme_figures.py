import json
import re
import sys
from pathlib import Path

import pytest
import tables as tables_module
from published import Published
from small_results import machine, trained, training

from hh_fast.bench.results import DataSummary, StepFigures
from hh_fast.bench.statistics import Outcome, Rate
from hh_fast.io.typed_json import to_json

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def tables():
    return tables_module


@pytest.mark.parametrize("name", ["README.md", "benchmarks/README.md"])
def test_every_table_is_what_the_results_say(tables, name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert tables.BLOCK.search(text)
    assert tables.rewritten(text) == text, "run benchmarks/tables.py"


def test_no_figure_of_ours_stands_outside_the_tables(tables):
    """A rate, a ratio or a time in the front page's prose would go stale unseen."""
    text = tables.BLOCK.sub("", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert re.findall(r"\d[\d,.]* (?:times (?:faster|shorter)|images/s|images a second)", text) == []


def published(*outcomes):
    settings = {"precision": "mixed_bfloat16", "epochs": 4, "seeds": 1}
    data = DataSummary("sample", "f", 1024, 256, (300, 300))
    return Published("python benchmarks/training.py", "2026-01-02", machine(), settings, outcomes, data=data)


ARMS = (
    training("ImageDataGenerator + fit, float32", trained(200.0, (12.0, 10.0, 21.0, 10.0))),
    training("stock tf.data + fit, mixed_bfloat16", trained(60.0, (7.0, 6.0, 6.0, 6.0))),
    training("hh_fast, float32", trained(50.0, (6.0, 5.0, 5.0, 5.0), val_accuracy=(0.91,))),
    training("hh_fast, mixed_bfloat16", trained(40.0, (5.0, 4.0, 4.0, 4.0))),
    training("ImageDataGenerator + fit, float32, augmented", trained(400.0, (30.0, 24.0, 24.0, 24.0))),
    training("hh_fast, mixed_bfloat16, augmented", trained(45.0, (7.0, 6.0, 6.0, 6.0))),
)


def test_the_front_page_leads_with_the_fair_speedups(tables, monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    (tmp_path / "training.json").write_text(json.dumps(to_json(published(*ARMS))))
    text = tables.rewritten("<!-- table: readme -->\nold\n<!-- end table -->\n")
    assert (
        "Speedup of a steady-state epoch: 2.5 over ImageDataGenerator as commonly run and 1.5 over stock tf.data at equal"
        " precision; with augmentation, 4.0 over ImageDataGenerator as commonly run." in text
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert len(rows) - 2 == 6
    assert rows[2:5] == [
        ["ImageDataGenerator + fit, float32", "10.0", "1.0", "200.0", "1.0", "90.0%"],
        ["stock tf.data + fit, mixed_bfloat16", "6.0", "1.7", "60.0", "3.3", "90.0%"],
        ["hh_fast, float32", "5.0", "2.0", "50.0", "4.0", "91.0%"],
    ]
    assert "iterator's shutdown, 1 of 3 of ImageDataGenerator + fit, float32." in text
    assert tables.rewritten(text) == text


def test_a_speedup_is_the_median_of_its_pairs(tables):
    stock, own = (
        training(name, *(trained(40.0, (9.0, seconds, seconds)) for seconds in epochs))
        for name, epochs in (("stock", (4.0, 5.0, 4.5)), ("own", (4.0, 4.0, 3.0)))
    )
    assert tables.speedup({"stock": stock, "own": own}, "stock", "own", "steady_epoch_s") == 1.25
    assert tables.speedup({"own": own}, "stock", "own", "steady_epoch_s") is None


def test_a_changed_figure_is_noticed(tables, monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    (tmp_path / "training.json").write_text(json.dumps(to_json(published(*ARMS))))
    text = tables.rewritten("<!-- table: readme -->\n<!-- end table -->\n")
    faster = training("hh_fast, float32", trained(49.0, (6.0, 5.0, 5.0, 5.0), val_accuracy=(0.91,)))
    (tmp_path / "training.json").write_text(json.dumps(to_json(published(*ARMS[:2], faster, *ARMS[3:]))))
    assert tables.rewritten(text) != text


def test_what_is_not_measured_says_so(tables, monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert tables.block("inputs") == "Not measured yet: `benchmarks/inputs.py`.\n"


def test_check_exits_with_one_where_a_table_is_stale(tables, monkeypatch, tmp_path, capsys):
    document = tmp_path / "README.md"
    document.write_text("<!-- table: inputs -->\nolder\n<!-- end table -->\n")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "DOCUMENTS", (document,))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    assert tables.main() == 1
    assert capsys.readouterr().err == "README.md differs from benchmarks/results: run benchmarks/tables.py\n"
    monkeypatch.setattr(sys, "argv", ["tables.py"])
    assert tables.main() == 0
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    assert tables.main() == 0


def test_a_step_is_split_into_its_arithmetic_and_what_it_takes_beyond(tables):
    rates = {"hh_fast": 256.0, "the convolutions alone": 320.0, "bound: matrix product": 512.0}
    outcomes = [Outcome(f"{name}, float32", (StepFigures(Rate(rate, 1.0)),)) for name, rate in rates.items()]
    results = Published("", "2026-01-02", machine(), {"batch_size": 128}, tuple(outcomes))
    row = tables.where_time_goes(results).splitlines()[-1]
    assert [cell.strip() for cell in row.strip("|").split("|")] == ["hh_fast, float32", "500", "250", "150", "100"]
