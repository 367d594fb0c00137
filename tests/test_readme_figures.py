import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["README.md", "benchmarks/README.md"])
def test_every_table_is_what_the_results_say(tables, name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert tables.BLOCK.search(text)
    assert tables.rewritten(text) == text, "run benchmarks/tables.py"


def test_no_figure_of_ours_stands_outside_the_tables(tables):
    """A rate, a ratio or a time in the front page's prose would go stale unseen."""
    text = tables.BLOCK.sub("", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert re.findall(r"\d[\d,.]* (?:times (?:faster|shorter)|images/s|images a second)", text) == []


def test_a_changed_figure_is_noticed(tables, monkeypatch, tmp_path):
    results = {
        "entries": [
            {"name": name, "failure": None, "repeats": [repeat | {"first_epoch_s": 12.0}]}
            for name, repeat in {
                tables.GENERATOR: {
                    "wall_s": 200.0,
                    "steady_epoch_s": 10.0,
                    "epoch_s": [12.0, 10.0, 21.0, 10.0],
                    "last_val_accuracy": 0.9,
                },
                "hh_fast, float32": {
                    "wall_s": 50.0,
                    "steady_epoch_s": 4.0,
                    "epoch_s": [5.0, 4.0, 4.0, 4.0],
                    "last_val_accuracy": 0.91,
                },
            }.items()
        ],
        "train": {"epochs": 15},
        "data": {"num_train": 1024},
        "machine": {"num_cores": 2, "cpu": "A CPU"},
    }
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    (tmp_path / "training.json").write_text(json.dumps(results))
    text = tables.rewritten("<!-- table: readme -->\nold\n<!-- end table -->\n")
    row = next(line for line in text.splitlines() if "hh_fast, float32" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "hh_fast, float32", "4.0", "2.5", "50.0", "4.0", "91.0%",
    ]  # fmt: skip
    assert "1 of the 4 epochs of ImageDataGenerator and fit, float32 took about twice as long as the others" in text
    assert "with none held up, that whole run would take 42 s." in text
    assert tables.rewritten(text) == text
    results["entries"][1]["repeats"][0]["wall_s"] = 40.0
    (tmp_path / "training.json").write_text(json.dumps(results))
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
