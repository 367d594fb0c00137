import numpy as np
import pytest

from hh_fast.bench import baseline, whole
from hh_fast.config import DataConfig, TrainConfig


@pytest.fixture
def make_job(make_images, tmp_path):
    def make(classes=("horses", "humans"), **train):
        counts = dict.fromkeys(classes, 4)
        config = DataConfig(
            train_dir=str(make_images("train", counts, size=(94, 94))),
            validation_dir=str(make_images("validation", dict.fromkeys(classes, 2), size=(94, 94), seed=1)),
            image_size=(94, 94),
            cache="memory",
            cache_dir=str(tmp_path / "cache"),
        )
        values = {"epochs": 2, "batch_size": 4, "validation_batch_size": 3, "precision": "float32", **train}
        return whole.Job(config, TrainConfig(**values), len(classes))

    return make


def test_both_train_on_every_image_from_the_same_weights(make_job):
    job = make_job(optimizer="sgd", learning_rate=1e-9)
    generator = whole.train_generator(job, baseline.Feeding())
    own = whole.train_hh_fast(job)
    assert generator["images"] == own["images"] == [8, 8]
    # With a learning rate of nothing the weights stay, so each epoch's loss is that of the initial ones on all images.
    np.testing.assert_allclose(generator["loss"], own["loss"], rtol=1e-4)
    assert generator["val_accuracy"] == own["val_accuracy"]


@pytest.mark.parametrize("train", [whole.train_hh_fast, lambda job: whole.train_generator(job, baseline.Feeding())])
def test_figures_fit_together(make_job, train):
    figures = train(make_job())
    assert len(figures["epoch_s"]) == len(figures["training_s"]) == len(figures["val_accuracy"]) == 2
    assert sum(figures["epoch_s"]) < figures["wall_s"]
    assert figures["first_epoch_s"] + figures["epoch_s"][1] <= figures["wall_s"]
    assert figures["training_s"][1] < figures["epoch_s"][1]
    assert figures["warm_img_s"] == pytest.approx(8 / figures["training_s"][1])
    assert figures["last_val_accuracy"] == figures["val_accuracy"][-1]


def test_three_classes_train_with_a_softmax(make_job):
    job = make_job(("a", "b", "c"), epochs=1)
    assert job.head == "softmax"
    assert whole.train_generator(job, baseline.Feeding())["images"] == [12]
    assert whole.train_hh_fast(job)["images"] == [12]


@pytest.mark.parametrize("resident", [whole.resident_recipe, whole.resident_hh_fast])
def test_a_resident_batch_is_counted_by_its_images(make_job, monkeypatch, resident):
    monkeypatch.setattr(whole, "MIN_RESIDENT_S", 0.05)
    figures = resident(make_job())
    assert figures["images"] % 4 == 0
    assert figures["images"] >= 12
    assert figures["warm_img_s"] == pytest.approx(figures["images"] / figures["training_s"])
