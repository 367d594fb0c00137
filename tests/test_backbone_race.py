import dataclasses
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from small_results import small_results

from benchmarks.race import backbone, chart, report, training
from benchmarks.race.names import AGAIN, BACKBONE_CLAIMS, FEATURES, OWN_WHOLE, RESIDENT_FEATURES, STOCK_WHOLE
from benchmarks.race.workload import Workload
from hh_fast.config import DataConfig, TrainConfig


@pytest.fixture
def workload(make_images, tmp_path):
    data = DataConfig(
        train_dir=str(make_images("train", {"a": 8, "b": 8})),
        validation_dir=str(make_images("validation", {"a": 2, "b": 2}, seed=1)),
        image_size=(32, 32),
        cache_dir=str(tmp_path / "cache"),
    )
    train = TrainConfig(backbone="efficientnet_lite0", batch_size=8, epochs=2, learning_rate=0.01)
    return Workload(data, train, 2)


@pytest.fixture
def network(tmp_path):
    """A frozen network of a file that knows how red an image is, and how green."""
    path = tmp_path / "network.keras"
    image = keras.Input((32, 32, 3))
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))).save(path)
    return str(path)


@pytest.mark.slow
def test_the_rival_trains_a_head_on_the_network_that_it_is_given(workload, network):
    workload = dataclasses.replace(workload, train=dataclasses.replace(workload.train, epochs=30, learning_rate=0.3))
    row = backbone.train_stock(workload, network)
    assert len(row["epoch_s"]) == len(row["val_accuracy"]) == 30
    assert row["val_accuracy"][-1] == 1.0
    assert sum(row["epoch_s"]) < row["wall_s"]
    assert row["network"] == "network"


@pytest.mark.slow
def test_the_rival_imports_nothing_of_ours():
    code = "import sys, benchmarks.race.rival_backbone; print([m for m in sys.modules if m.startswith('hh_fast')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_ours_is_the_command_with_the_same_settings(workload):
    row = backbone.train_ours(workload)
    assert len(row["epoch_s"]) == len(row["val_accuracy"]) == 2
    assert sum(row["epoch_s"]) < row["wall_s"]


def test_each_repeat_has_a_seed_of_its_own_and_what_is_claimed_is_measured(workload, monkeypatch, tmp_path):
    monkeypatch.setattr(backbone, "in_process", lambda *_: "network.keras")
    monkeypatch.setattr(backbone, "time_command", lambda words: (5.0, json.dumps({"words": words})))
    monkeypatch.setattr(backbone, "train_ours", lambda workload, *_, **__: {"seed": workload.data.seed})
    arms = backbone.backbone_arms(workload, tmp_path)
    assert [arms[OWN_WHOLE](repeat)["seed"] for repeat in range(3)] == [0, 1, 2]
    settings = json.loads(arms[f"{STOCK_WHOLE}, augmented"](2)["words"][-1])
    assert (settings["seed"], settings["augment"], settings["batch_size"]) == (2, True, 8)
    assert {name for claim in BACKBONE_CLAIMS for name in (claim.above, claim.below)} <= set(arms)


def rows():
    def of(arm, **figures):
        return [{"kind": "backbone", "arm": arm, "repeat": i, **figures} for i in range(3)]

    trained = [
        *of(STOCK_WHOLE, wall_s=120.0, epoch_s=[9.0, 7.0], val_accuracy=[0.8, 0.88]),
        *of(OWN_WHOLE, wall_s=8.0, epoch_s=[0.2, 0.1], val_accuracy=[0.8, 0.89]),
        *of(AGAIN, wall_s=5.0, beyond_import_s=2.5, epoch_s=[0.2, 0.1], val_accuracy=[0.8, 0.87]),
        *of(f"{STOCK_WHOLE}, augmented", wall_s=40.0, epoch_s=[12.0, 12.0], val_accuracy=[0.8, 0.8]),
        *of(f"{OWN_WHOLE}, augmented", wall_s=20.0, epoch_s=[4.0, 4.0], val_accuracy=[0.8, 0.8]),
    ]
    training.mark_steady(trained)
    return [*trained, *of(FEATURES, images_per_s=340.0), *of(RESIDENT_FEATURES, images_per_s=380.0)]


def test_the_report_leads_with_the_whole_process(tmp_path):
    results = small_results(rows(), backbone="efficientnet_lite0", epochs=15)
    text = report.render(results)
    sentence = (
        "Speedup of a whole process over stock tf.data on the same frozen network: 15.0; 3.0 for an augmented epoch."
    )
    assert text.startswith(f"# bin/bench\n\n{sentence}\n")
    assert "| efficientnet_lite0, 15 epochs of 1,024 images " in text
    assert "2.5 (2.5 to 2.5)" in text
    assert "0.89" in text.partition("share of the engine's bound")[2].splitlines()[0]
    chart.draw(results, tmp_path / "a.png", tmp_path / "a.svg")
    assert "An augmented epoch: seconds" in (tmp_path / "a.svg").read_text()
    with Image.open(tmp_path / "a.png") as picture:
        assert np.asarray(picture).std() > 0
