"""Fixtures of export and prediction: a small trained run and the bundle made of it, once for all tests.

No asserts here, so: PYTEST_DONT_REWRITE.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hh_fast.predict.classifier import Classifier

CLASS_NAMES = ("horses", "humans")
IMAGE_SIZE = (96, 96)


def draw(rng: np.random.Generator, label: int, size: tuple[int, int]) -> Image.Image:
    """RGBA noise with a bright band: upright for class 1, level for class 0; never black or white, so 2 to 250."""
    pixels = rng.integers(2, 120, (*size, 4), np.uint8)
    at = int(rng.integers(size[1 - label] // 4, size[1 - label] // 2))
    band = (slice(None), slice(at, at + 20)) if label else (slice(at, at + 20), slice(None))
    pixels[band] = np.minimum(pixels[band].astype(int) + 130, 250)
    return Image.fromarray(pixels, "RGBA")


def draw_folder(root: Path, count: int, seed: int, sizes: Sequence[tuple[int, int]] = ((96, 96), (110, 130))) -> Path:
    rng = np.random.default_rng(seed)
    for label, name in enumerate(CLASS_NAMES):
        (root / name).mkdir(parents=True)
        for i in range(count):
            draw(rng, label, sizes[i % len(sizes)]).save(root / name / f"{i:03d}.png")
    return root


@dataclasses.dataclass(frozen=True)
class Run:
    run_dir: Path
    train_dir: Path
    validation_dir: Path

    @property
    def model(self) -> Path:
        return self.run_dir / "model.keras"


@pytest.fixture(scope="session", autouse=True)
def short_measurements() -> Iterator[None]:
    """Latencies that no test looks at need few runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hh_fast.export.latency.SECONDS_PER_FILE", 0.02)
        yield


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run folder of the recipe's CNN at 96 x 96, trained for a few steps."""
    import keras

    from hh_fast.config import DataConfig, TrainConfig
    from hh_fast.data.load import load_data
    from hh_fast.data.pipeline import train_batches
    from hh_fast.io.files import to_json
    from hh_fast.model import build_model
    from hh_fast.training.run import Run as RunFolder
    from hh_fast.training.run import RunConfig

    root = tmp_path_factory.mktemp("small")
    data_config = DataConfig(
        train_dir=str(draw_folder(root / "train", 32, seed=1)),
        validation_dir=str(draw_folder(root / "validation", 12, seed=2)),
        image_size=IMAGE_SIZE,
        cache="memory",
        cache_dir=str(root / "cache"),
    )
    data = load_data(data_config)
    model = build_model(IMAGE_SIZE, num_classes=2, head="sigmoid", seed=3)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="binary_crossentropy")
    for images, labels in train_batches(data.train, batch_size=16, seed=0, epochs=4):
        model.train_on_batch(images, labels)
    run_dir = root / "horse_or_human"
    run_dir.mkdir()
    model.save(run_dir / "model.keras")
    config = RunConfig(
        data=data_config,
        train=TrainConfig(batch_size=16),
        class_names=CLASS_NAMES,
        head="sigmoid",
        precision="float32",
        jit_compile=False,
        fingerprint=data.fingerprint,
        num_train=64,
        num_validation=24,
        num_bad=0,
        cache="memory",
        devices=("a test's",),
        num_replicas=1,
        num_workers=1,
        num_shards=1,
        versions={},
    )
    (run_dir / "config.json").write_text(json.dumps(to_json(config)))
    (run_dir / "result.json").write_text("{}")
    RunFolder(run_dir).write_held_out(data.validation, data.class_names)
    return Run(run_dir, root / "train", root / "validation")


@pytest.fixture(scope="session")
def bundle(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `run` in all six formats."""
    from hh_fast.config import ExportConfig
    from hh_fast.export.bundle import export
    from hh_fast.export.trained_model import load_trained_model

    target = tmp_path_factory.mktemp("exports") / "horse_or_human"
    config = ExportConfig(
        run_dir=str(run.run_dir),
        export_dir=str(target),
        formats=("all",),
        calibration_images=32,
        author="A. Author",
        license="apache-2.0",
    )
    return export(config, load_trained_model(config, {}))


def fake_classifier() -> Classifier:
    """Scores an image by its first pixel's first channel."""

    def score(images: np.ndarray) -> np.ndarray:
        p = images[:, 0, 0, 0].astype(np.float32) / 255
        return np.stack([1 - p, p], axis=1)

    return Classifier("fake", CLASS_NAMES, (2, 2), score)


@pytest.fixture(scope="session")
def images(run: Run) -> np.ndarray:
    """Validation images as training decodes them: uint8 (24, 96, 96, 3), horses first."""
    from hh_fast.data.images import list_images
    from hh_fast.data.pixels import ImageForm, read_pixels

    images, _ = list_images(run.validation_dir)
    return np.stack([read_pixels(path, ImageForm(IMAGE_SIZE)) for path in images.paths])


@pytest.fixture(scope="session")
def scores(run: Run, images: np.ndarray) -> np.ndarray:
    """What plain Keras says of `images`: [1 - p, p], float32 (24, 2)."""
    import keras

    p = np.asarray(keras.models.load_model(run.model)(images.astype(np.float32)))
    return np.concatenate([1 - p, p], axis=1)
