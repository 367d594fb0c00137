import json
import re
import sys
from pathlib import Path

import pytest
from small_results import small_results, training

from benchmarks import publish

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", ["README.md", "examples/guide.md", "benchmarks/README.md"])
def test_every_table_is_what_the_results_say(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert publish.BLOCK.search(text)
    assert publish.rewritten(text) == text, "run python -m benchmarks.publish"


def test_no_figure_of_ours_stands_outside_the_tables():
    """A rate, a ratio or a time in the prose of the front page or the guide would go stale unseen."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "examples/guide.md")]
    text = publish.BLOCK.sub("", "".join(texts))
    assert re.findall(r"\d[\d,.]* (?:times (?:faster|shorter)|images/s|images a second)", text) == []


ARMS = [
    *training("ImageDataGenerator + fit, float32", (200.0, (12.0, 10.0, 21.0, 10.0))),
    *training("stock tf.data + fit, mixed_bfloat16", (60.0, (7.0, 6.0, 6.0, 6.0))),
    *training("hh_fast, mixed_bfloat16", (40.0, (5.0, 4.0, 4.0, 4.0))),
    *training("ImageDataGenerator + fit, float32, augmented", (400.0, (30.0, 24.0, 24.0, 24.0))),
    *training("hh_fast, mixed_bfloat16, augmented", (45.0, (7.0, 6.0, 6.0, 6.0))),
]


@pytest.fixture
def results_dir(monkeypatch, tmp_path):
    monkeypatch.setattr(publish, "RESULTS_DIR", tmp_path)
    return tmp_path


def put(folder, rows):
    (folder / "race.json").write_text(json.dumps(small_results(rows, epochs=4)))


def test_the_front_page_leads_with_the_fair_speedups(results_dir):
    put(results_dir, ARMS)
    text = publish.rewritten("<!-- table: readme -->\nold\n<!-- end table -->\n")
    assert (
        "Speedup of a steady-state epoch of the CNN: 2.5 over ImageDataGenerator as commonly run and 1.5 over stock tf.data at equal"
        " precision; with augmentation, 4.0 over ImageDataGenerator as commonly run." in text
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert rows[2:] == [
        ["ImageDataGenerator + fit, float32", "10.0", "1.0", "200.0", "1.0", "90.0%"],
        ["stock tf.data + fit, mixed_bfloat16", "6.0", "1.7", "60.0", "3.3", "90.0%"],
        ["hh_fast, mixed_bfloat16", "4.0", "2.5", "40.0", "5.0", "90.0%"],
        ["ImageDataGenerator + fit, float32, augmented", "24.0", "1.0", "400.0", "1.0", "-"],
        ["hh_fast, mixed_bfloat16, augmented", "6.0", "4.0", "45.0", "8.9", "-"],
    ]
    assert "Training times include epochs that tf.data's autotuner stalled" in text
    assert publish.rewritten(text) == text


def test_a_changed_figure_is_noticed(results_dir):
    put(results_dir, ARMS)
    text = publish.rewritten("<!-- table: readme -->\n<!-- end table -->\n")
    put(results_dir, [*ARMS[:2], *training("hh_fast, mixed_bfloat16", (40.0, (5.0, 3.0, 3.0))), *ARMS[3:]])
    assert publish.rewritten(text) != text


def test_what_is_not_measured_says_so(results_dir):
    assert publish.block("start") == "Not measured yet: `python -m benchmarks.studies.start`.\n"
    assert publish.block("gpu") == "Not measured yet: `bin/bench --full --augmented --sweep --flagfile=gpu.flags`.\n"


def test_check_exits_with_one_where_a_table_is_stale(results_dir, monkeypatch, tmp_path, capsys):
    document = tmp_path / "README.md"
    document.write_text("<!-- table: inputs -->\nolder\n<!-- end table -->\n")
    monkeypatch.setattr(publish, "DOCUMENTS", (document,))
    monkeypatch.setattr(sys, "argv", ["publish", "--check"])
    assert publish.main() == 1
    assert capsys.readouterr().err == "README.md differs from benchmarks/results: run python -m benchmarks.publish\n"
    monkeypatch.setattr(sys, "argv", ["publish"])
    assert publish.main() == 0
    monkeypatch.setattr(sys, "argv", ["publish", "--check"])
    assert publish.main() == 0


def test_the_front_page_ends_with_the_frozen_network(results_dir):
    put(results_dir, ARMS)
    frozen = [
        {
            "kind": "backbone",
            "arm": arm,
            "repeat": 0,
            "wall_s": wall_s,
            "steady_epoch_s": epoch_s,
            "last_val_accuracy": 0.9,
        }
        for arm, wall_s, epoch_s in (("stock tf.data + fit, frozen network", 120, 8), ("hh_fast --backbone", 8, 0.04))
    ]
    (results_dir / "backbone_photos.json").write_text(
        json.dumps(small_results(frozen, backbone="a_network", epochs=15))
    )

    def last_row():
        lines = [line for line in publish.block("readme").splitlines() if line.startswith("|")]
        return [cell.strip() for cell in lines[-1].strip("|").split("|")]

    assert last_row() == ["hh_fast --backbone", "0.04", "200.0", "8.0", "15.0", "90.0%"]
    assert "The frozen network is a_network, with 15 epochs of 1,024 images of sample," in publish.block("readme")
    results = json.loads((results_dir / "backbone_photos.json").read_text())
    results["machine"]["cpu"] = "a faster one"
    (results_dir / "backbone_photos.json").write_text(json.dumps(results))
    assert last_row() == ["hh_fast --backbone", "-", "-", "-", "15.0", "90.0%"]
    results["epochs"] = 4  # of the same images, by small_results: the work is that of the other rows
    (results_dir / "backbone_photos.json").write_text(json.dumps(results))
    assert "The frozen network is a_network, in a run by itself" in publish.block("readme")
