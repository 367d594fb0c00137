"""What the studies count, and the tables that publish makes of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_results import small_results

from benchmarks import publish
from benchmarks.studies import unknown


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


@pytest.fixture
def results_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(publish, "RESULTS_DIR", tmp_path)
    return tmp_path


def test_each_set_of_images_has_a_table_with_the_columns_that_it_has_figures_for(results_dir: Path) -> None:
    rows = [
        {"set": "flowers", "arm": "half size", "repeat": 0, "found": 0.5, "others": 0},
        {"set": "what it costs", "arm": "10 photos", "repeat": 0, "reading_s": 2.0},
    ]
    (results_dir / "copies.json").write_text(json.dumps(small_results(rows)))
    assert [line for line in cells(publish.block("copies")) if line[0][0] != "-"] == [
        ["flowers", "found", "others"],
        ["half size", "50.0%", "0"],
        ["what it costs", "reading and decoding, s"],
        ["10 photos", "2.0"],
    ]


def test_the_networks_stand_there_before_they_are_measured(results_dir: Path) -> None:
    assert cells(publish.block("networks"))[2][:5] == ["`efficientnet_lite0`", "75.1%", "74.4%", "-", "-"]
    rows = [{"arm": "efficientnet_lite0", "repeat": i, "int8_bytes": 3_900_000, "int8_ms": 2.0 + i} for i in range(3)]
    (results_dir / "networks.json").write_text(json.dumps(small_results(rows)))
    assert cells(publish.block("networks"))[2][:5] == ["`efficientnet_lite0`", "75.1%", "74.4%", "3.9", "3.0"]


def test_a_picture_is_known_where_a_class_is_ahead_of_unknown() -> None:
    scores = np.array([[0.5, 0.1, 0.4], [0.3, 0.3, 0.4], [0.0, 1.0, 0.0]])
    assert unknown.is_known(scores).tolist() == [True, False, True]
