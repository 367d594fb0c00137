"""Training on what is frozen of a model, computed once for each image: what it gives, what is kept, and how it goes on."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from small_data import read_table

from hh_fast.augmentation import Augmentation
from hh_fast.backbone.features import Front
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.data.features import backbone_features
from hh_fast.data.load import load_data
from hh_fast.data.pipeline import images_at, train_batches
from hh_fast.errors import DataError, UsageError
from hh_fast.training.loop import Loop
from hh_fast.training.run import Run
from hh_fast.training.train import train

L = keras.layers
SIZE = (8, 10)
COUNTS = {"horses": 70, "humans": 70}  # over two chunks of rows


def model(dropout: float = 0.0) -> keras.Model:
    """A frozen network with batch normalisation, nested, under a head."""
    keras.utils.set_random_seed(0)
    image = keras.Input((*SIZE, 3))
    x = L.Conv2D(6, 3, use_bias=False, name="inner_conv")(L.Rescaling(1 / 128, offset=-1)(image))
    norm = L.BatchNormalization(name="inner_norm")
    x = L.ReLU()(norm(x))
    norm.set_weights([np.linspace(lowest, 1, 6) for lowest in (0.5, -1, -0.5, 0.5)])
    network = keras.Model(image, L.Conv2D(4, 3, activation="relu", name="inner_last")(x), name="network")
    network.trainable = False
    whole = keras.Input((*SIZE, 3))
    x = L.Dropout(dropout)(L.GlobalAveragePooling2D()(network(whole)))
    return keras.Model(whole, L.Dense(2, activation="softmax", name="head")(x), name="mine")


@pytest.fixture
def settings(make_images: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    return {
        "train_dir": str(make_images("train", COUNTS, size=(12, 12))),
        "cache_dir": str(tmp_path / "cache"),
        "run_dir": str(tmp_path / "run"),
        "batch_size": 16,
        "epochs": 2,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "precision": "float32",
    }


def assert_same(one: Run, other: Run) -> None:
    for name in ("model.keras", "last.keras"):
        mine, theirs = (keras.models.load_model(run.run_dir / name).get_weights() for run in (one, other))
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(one.history, other.history, strict=True):
        assert [a[name] for name in ("loss", "val_loss")] == [b[name] for name in ("loss", "val_loss")]


@pytest.mark.slow
@pytest.mark.parametrize("augmented", [False, True])
def test_training_from_features_gives_what_keras_gives(settings: dict[str, Any], augmented: bool) -> None:
    ranges = {"width_shift_range": 0.2, "horizontal_flip": True} if augmented else {}
    run = train(**settings, **ranges, model=model())
    data = load_data(DataConfig(train_dir=settings["train_dir"], cache_dir=settings["cache_dir"], image_size=SIZE))
    theirs = model()
    theirs.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    batches = train_batches(data.train, batch_size=16, seed=0, epochs=2, augmentation=Augmentation(**ranges))
    for images, labels in batches:
        theirs.train_on_batch(images.numpy().astype(np.float32), labels)
    last = keras.models.load_model(run.run_dir / "last.keras")
    assert [type(layer) for layer in last._flatten_layers()] == [type(layer) for layer in theirs._flatten_layers()]
    for a, b in zip(last.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    # What is told of the saved file is what Keras says of it.
    result, validation = run.read_result(), data.validation
    assert result is not None
    assert validation is not None
    images = images_at(validation, np.arange(len(validation))).astype(np.float32)
    assert result.val_accuracy == pytest.approx((run.model(images).numpy().argmax(1) == validation.labels).mean())
    assert (run.run_dir / "worst.png").is_file()


@pytest.mark.parametrize("pooled", [False, True])
def test_features_that_are_larger_than_the_pixels_are_said(
    pooled: bool, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    image = keras.Input((*SIZE, 3))
    maps = L.Conv2D(4, 3, padding="same")(image)
    front = Front(keras.Model(image, L.GlobalAveragePooling2D()(maps) if pooled else maps), Path(settings["cache_dir"]))
    config = DataConfig(train_dir=settings["train_dir"], cache_dir=settings["cache_dir"], image_size=SIZE)
    data = load_data(config, front=front)
    assert data.cache == "disk"
    assert ("8 x 10 x 4 numbers an image, 5.3 times the bytes of its pixels" in caplog.text) != pooled


class Interrupt(Exception):
    pass


def cut_off(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at: int, run: Callable[[], Any]) -> None:
    """Calls `run`, which ends at call number `at` of `owner.name`, from 0."""
    real, calls = getattr(owner, name), iter(range(at + 1))

    def call(self: Any, *args: Any) -> Any:
        if next(calls) == at:
            raise Interrupt
        return real(self, *args)

    with monkeypatch.context() as patch, pytest.raises(Interrupt):
        patch.setattr(owner, name, call)
        run()


@pytest.mark.slow
def test_a_run_cut_off_in_the_pass_and_in_an_epoch_ends_as_if_it_had_not_been(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings |= {"checkpoint_every_steps": 1, "epochs": 4}
    elsewhere = {"run_dir": str(tmp_path / "whole"), "cache_dir": str(tmp_path / "other_cache")}
    whole = train(**(settings | elsewhere), model=model(dropout=0.5))

    def go_on() -> Run:
        return train(**settings, model=model(dropout=0.5))

    cut_off(monkeypatch, Front, "__call__", 2, go_on)
    caplog.clear()
    cut_off(monkeypatch, Loop, "_run_step", 3, go_on)
    assert "128 of 140 rows are done" in caplog.text
    cut_off(monkeypatch, Loop, "_finish_epoch", 1, go_on)
    assert not (tmp_path / "run" / "model.keras").exists()
    assert_same(go_on(), whole)


@pytest.mark.slow
def test_features_are_made_once_for_all_runs_and_again_where_anything_differs(
    settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def passes(**changed: Any) -> int:
        caplog.clear()
        train(**(settings | {"overwrite": True, "model": model()} | changed))
        return caplog.text.count("rows of features")

    assert passes() == 1
    assert passes(learning_rate=0.2, seed=3) == 0
    other = model()
    other.get_layer("network").get_layer("inner_last").bias.assign([1, 0, 0, 0])
    assert passes(model=other) == 1
    assert passes(validation_split=0.3) == 0
    (rows,) = sorted((tmp_path / "cache" / "features").glob("*/rows"))[:1]
    content = bytearray(rows.read_bytes())
    content[5] ^= 1
    rows.write_bytes(content)
    assert passes() + passes(model=other) == 1
    shutil.copy(Path(settings["train_dir"], "horses", "000.png"), Path(settings["train_dir"], "humans", "more.png"))
    assert passes() == 1


@pytest.mark.slow
def test_features_are_the_same_wherever_they_are_kept(settings: dict[str, Any], tmp_path: Path) -> None:
    runs = [
        train(**(settings | {"cache": cache, "run_dir": str(tmp_path / cache)}), model=model())
        for cache in ("memory", "disk", "none")
    ]
    assert_same(runs[0], runs[1])
    assert_same(runs[0], runs[2])
    augmented = [
        train(**(settings | {"cache": cache, "run_dir": str(tmp_path / f"a{cache}")}), model=model(), augment=True)
        for cache in ("memory", "none")
    ]
    assert_same(*augmented)


@pytest.mark.slow
def test_a_pretrained_network_from_photos_to_a_model_that_loads_anywhere_and_is_fine_tuned(
    settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = {name: settings[name] for name in ("train_dir", "cache_dir", "run_dir")}
    run = train(**given, backbone="efficientnet_lite0", image_size=(32, 32), epochs=3)
    config = run.read_config()
    assert config is not None
    assert (config.train.optimizer, config.train.batch_size, config.head) == ("adam", 14, "sigmoid")
    assert config.backbone is not None
    assert config.backbone.sha256.startswith("579344248a93e230")
    readme = (run.run_dir / "README.md").read_text()
    assert "efficientnet_lite0, Apache-2.0" in readme
    assert config.backbone.sha256 in readme
    assert "--backbone=efficientnet_lite0" in readme
    code = (
        "import sys, keras, numpy as np; m = keras.models.load_model(sys.argv[1]); assert 'hh_fast' not in sys.modules;"
        "print(m.count_params(), m.predict(np.zeros((2, 32, 32, 3), np.uint8), verbose=0).shape)"
    )
    argv = [sys.executable, "-c", code, str(run.run_dir / "model.keras")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["3414305", "(2,", "1)"]

    caplog.clear()
    tuned = train(
        **(given | {"run_dir": str(tmp_path / "tuned")}),
        model=run.run_dir,
        unfreeze=1,
        learning_rate=1e-4,
        epochs=1,
    )
    assert "their output has 1 x 1 x 192 values per image" in caplog.text
    before, after = (
        {variable.path: variable.numpy() for variable in keras.models.load_model(folder / "last.keras").weights}
        for folder in (run.run_dir, tuned.run_dir)
    )
    changed = {path.split("/")[0] for path in after if not np.array_equal(before[path], after[path])}
    last_block = {f"block15_{part}_conv" for part in ("expand", "depthwise", "project")}
    assert changed == {*last_block, "top_conv", "probability"}
    assert json.loads((tuned.run_dir / "config.json").read_text())["backbone"]["name"] == "efficientnet_lite0"


def test_what_contradicts_a_backbone(settings: dict[str, Any], tmp_path: Path) -> None:
    for changed, message in [
        ({"backbone": "resnet"}, "`backbone` must be one of efficientnet_lite0, mobilenet_v2, .* Received: resnet"),
        ({"image_size": (20, 20)}, "`image_size` must be at least 32 either way for efficientnet_lite0"),
        ({"model": "a.keras"}, "`backbone` must be left out if --model is given"),
        ({"backbone": None, "backbone_weights": "x"}, "`backbone_weights` must be given with --backbone"),
        ({"backbone": None, "unfreeze": True}, "`unfreeze` must be given with --backbone or --model"),
        ({"unfreeze": 0}, "`unfreeze` must be given without a value, or at least 1"),
        ({"backbone_weights": tmp_path / "no.pth"}, "No such file"),
    ]:
        with pytest.raises((DataError, UsageError, OSError), match=message):
            train(**(settings | {"backbone": "efficientnet_lite0"} | changed))
    assert not (tmp_path / "run").exists()


def test_defaults_suit_what_is_trained_and_typed_settings_overrule_each() -> None:
    plain, head = TrainConfig(), TrainConfig(backbone="mobilenet_v2")
    assert (plain.optimizer, plain.epochs, plain.early_stopping_patience) == ("rmsprop", 15, None)
    assert (head.optimizer, head.for_images(1000).batch_size) == ("adam", 32)
    assert TrainConfig(model="a.keras", unfreeze="all").optimizer == "adam"
    typed = TrainConfig(backbone="mobilenet_v2", optimizer="sgd", epochs=7, batch_size=100, early_stopping_patience=3)
    assert (typed.optimizer, typed.epochs, typed.early_stopping_patience) == ("sgd", 7, 3)
    assert typed.for_images(1000).batch_size == 100


@pytest.mark.slow
def test_features_of_a_backbone_are_found_again_without_it(
    make_images: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras.utils.set_random_seed(0)
    application = keras.applications.MobileNetV3Small(
        input_shape=(32, 32, 3), include_top=False, weights=None, pooling="avg"
    )
    weights = tmp_path / "small.weights.h5"
    application.save_weights(weights)
    images = read_table(make_images("train", {"cats": 3, "dogs": 2}, size=(32, 32)))
    config = DataConfig(image_size=(32, 32), cache_dir=str(tmp_path / "cache"))

    def made() -> np.ndarray:
        return backbone_features([images, images.select(np.arange(2))], "mobilenet_v3_small", str(weights), config)[0]

    rows = made()
    pixels = np.stack([np.asarray(Image.open(path)) for path in images.paths]).astype(np.float32)
    expected = np.asarray(application(pixels, training=False))
    np.testing.assert_allclose(rows, expected[[0, 1, 2, 3, 4, 0, 1]], atol=1e-4)

    def build(*arguments: Any) -> keras.Model:
        raise Interrupt

    monkeypatch.setattr("hh_fast.backbone.pretrained.build", build)
    np.testing.assert_array_equal(made(), rows)
    (record,) = (tmp_path / "cache" / "fronts").glob("*.json")
    record.write_bytes(b"damaged")
    with pytest.raises(Interrupt):
        made()
    record.unlink()
    weights.write_bytes(b"others")
    with pytest.raises(Interrupt):
        made()
