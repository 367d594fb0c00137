"""`image_dataset_from_directory`, beside Keras' function of that name."""

import inspect
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import hh_fast
from hh_fast.data import image_dataset
from hh_fast.data.keras_rules import CHANNELS
from hh_fast.data.pipeline import augment, order
from hh_fast.data.pixels import INTERPOLATIONS
from hh_fast.errors import DataError, UsageError

theirs = keras.utils.image_dataset_from_directory
SIZE = (20, 28)


@pytest.fixture
def ours(tmp_path: Path) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        kwargs = {"cache_dir": str(tmp_path / "cache"), "image_size": SIZE, "verbose": False, **kwargs}
        return image_dataset.image_dataset_from_directory(*args, **kwargs)

    return call


@pytest.fixture
def tangled(tmp_path: Path) -> Path:
    """Folders in folders, hidden ones, links, suffixes in capitals, and files that are no images."""
    rng = np.random.default_rng(1)
    root = tmp_path / "tangled"
    names = ["b/10.png", "b/9.PNG", "b/x/1.png", "b/x-y/2.png", "b/x/z/3.png", "a/.hidden/4.png", "a/_5.png", "a/é.png"]
    names += ["C/a.bmp", "C/b.png", "C/.c.png", ".d/6.png", "7.png", "b/notes.txt"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 28, 3), np.uint8)).save(
            root / name, Path(name).suffix[1:].upper() if name != "b/notes.txt" else "PNG"
        )
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(root / "7.png", tmp_path / "elsewhere" / "8.png")
    (root / "a" / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "e").symlink_to(tmp_path / "elsewhere")
    return root


def pixels(dataset: tf.data.Dataset) -> np.ndarray:
    return np.concatenate([batch[0] if isinstance(batch, tuple) else batch for batch in dataset])


def test_the_parameters_are_those_of_keras() -> None:
    mine = inspect.signature(image_dataset.image_dataset_from_directory).parameters
    keras_own = inspect.signature(theirs).parameters
    assert [(name, p.default, p.kind) for name, p in mine.items()][: len(keras_own)] == [
        (name, p.default, p.kind) for name, p in keras_own.items()
    ]
    assert {p.kind for p in list(mine.values())[len(keras_own) :]} == {inspect.Parameter.KEYWORD_ONLY}


LISTINGS = [
    {},
    {"follow_links": True},
    {"class_names": ["b", "C", "e"]},
    {"labels": None},
    {"label_mode": None},
    {"labels": list(range(5, 19)), "follow_links": False},
    {"validation_split": 0.3, "subset": "training"},
    {"validation_split": 0.3, "subset": "validation"},
    {"validation_split": 0.3, "subset": "both"},
]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("options", LISTINGS, ids=str)
def test_files_labels_order_and_split_are_those_of_keras(
    tangled: Path, ours: Callable[..., Any], options: dict[str, Any], shuffle: bool
) -> None:
    if options.get("labels"):  # as many as there are files
        num_files = len(theirs(tangled, labels=None, verbose=False).file_paths)
        options = options | {"labels": [i % 3 + 5 for i in range(num_files)]}
    options = options | {"shuffle": shuffle, "seed": 7}
    mine = ours(str(tangled), **options)
    keras_own = theirs(str(tangled), verbose=False, image_size=SIZE, **options)
    for one, other in zip(*(x if isinstance(x, list) else [x] for x in (mine, keras_own)), strict=True):
        assert (one.class_names, one.file_paths) == (other.class_names, other.file_paths)
        assert one.element_spec == other.element_spec
        assert one.cardinality() == other.cardinality()
        if not shuffle:
            for batch, expected in zip(one, other, strict=True):
                tf.nest.map_structure(np.testing.assert_array_equal, batch, expected)


def photo(mode: str, size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Waves, in which every row and column is another, as a picture of (height, width)."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (7, 9, 4), np.uint8), "RGBA")
    return small.resize(size[::-1], Image.Resampling.BICUBIC).convert(mode)


@pytest.fixture
def lossless(tmp_path: Path) -> Path:
    """PNGs of several modes, smaller, larger, and of the size asked for."""
    (tmp_path / "lossless" / "a").mkdir(parents=True)
    for i, (mode, size) in enumerate(
        [("RGB", SIZE), ("RGBA", (41, 30)), ("L", (13, 50)), ("LA", (20, 29)), ("P", (90, 70)), ("RGB", (50, 9))]
    ):
        photo(mode, size, i).save(tmp_path / "lossless" / "a" / f"{i}.png")
    return tmp_path / "lossless"


FORMS = [
    *({"interpolation": name} for name in INTERPOLATIONS),
    *({"color_mode": name} for name in CHANNELS),
    {"crop_to_aspect_ratio": True},
    {"pad_to_aspect_ratio": True},
    {"crop_to_aspect_ratio": True, "interpolation": "lanczos3", "color_mode": "grayscale"},
    {"pad_to_aspect_ratio": True, "interpolation": "nearest", "color_mode": "rgba"},
    {"data_format": "channels_first", "image_size": (31, 17)},
]


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_pixels_of_lossless_files_are_those_of_keras_rounded(
    lossless: Path, ours: Callable[..., Any], options: dict[str, Any]
) -> None:
    options = {"image_size": SIZE, "labels": None, "shuffle": False, **options}
    made = pixels(ours(lossless, **options))
    expected = pixels(theirs(lossless, verbose=False, **options))
    # Within rounding; libpng rounds when it makes colours grey too.
    expected = np.clip(np.rint(expected), 0, 255)
    is_grey = options.get("color_mode") == "grayscale"
    np.testing.assert_allclose(made, expected, atol=2 if is_grey else 1)
    assert abs(np.mean(made - expected)) < 0.2
    assert np.array_equal(made, np.rint(made))


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_wherever_they_are_kept_pixels_labels_and_order_are_the_same(
    lossless: Path, ours: Callable[..., Any], cache: str
) -> None:
    options = {"seed": 3, "batch_size": 4, "label_mode": "int", "labels": [3, 1, 4, 1, 5, 9]}
    expected = [ours(lossless, **options), ours(lossless, **options | {"color_mode": "rgba"})]
    made = [ours(lossless, cache=cache, **options), ours(lossless, cache=cache, **options | {"color_mode": "rgba"})]
    for one, other in zip(made, expected, strict=True):
        for _ in range(2):
            for batch, wanted in zip(one, other, strict=True):
                tf.nest.map_structure(np.testing.assert_array_equal, batch, wanted)


def test_dtype_uint8_and_single_images(lossless: Path, ours: Callable[..., Any]) -> None:
    batch = next(iter(ours(lossless, label_mode=None, shuffle=False)))
    for options in ({"dtype": "uint8"}, {"dtype": "uint8", "batch_size": None}, {"batch_size": None, "cache": "none"}):
        dataset = ours(lossless, label_mode=None, shuffle=False, **options)
        made = pixels(dataset) if dataset.element_spec.shape.rank == 4 else np.stack(list(dataset))
        assert made.dtype == dataset.element_spec.dtype == options.get("dtype", "float32")
        np.testing.assert_array_equal(made, batch)


def test_what_keras_misreads(tmp_path: Path, ours: Callable[..., Any]) -> None:
    """What the docstring says of JPEG, EXIF and palettes, and of formats that Keras cannot make grey or RGBA."""
    root = tmp_path / "odd"
    (root / "a").mkdir(parents=True)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8))
    noise.save(root / "a" / "0.jpg", quality=90)
    turned = Image.Exif()
    turned[0x0112] = 3
    noise.save(root / "a" / "1.jpg", quality=90, exif=turned)
    photo("P", SIZE).save(root / "a" / "2.bmp")
    made = pixels(ours(root, labels=None, shuffle=False))
    jpeg = np.asarray(Image.open(root / "a" / "0.jpg"))
    for image, expected in zip(made, [jpeg, jpeg[::-1, ::-1], photo("P", SIZE).convert("RGB")], strict=True):
        np.testing.assert_array_equal(image, np.asarray(expected))
    for image, of_keras in zip(made, pixels(theirs(root, labels=None, shuffle=False, image_size=SIZE)), strict=True):
        assert np.abs(image - of_keras).max() > 2
    photo("P", SIZE).save(root / "a" / "3.gif")
    for color_mode, channels in (("grayscale", 1), ("rgba", 4)):
        assert pixels(ours(root, labels=None, color_mode=color_mode)).shape == (4, *SIZE, channels)
        with pytest.raises(tf.errors.InvalidArgumentError):
            pixels(theirs(root, labels=None, color_mode=color_mode, image_size=SIZE))


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """Ten PNGs, each of one grey: its number."""
    for i in range(10):
        (tmp_path / "numbered" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / "numbered" / "ab"[i % 2] / f"{i}.png")
    return tmp_path / "numbered"


def numbers(dataset: tf.data.Dataset) -> list[int]:
    return [int(i) for batch in dataset for i in batch[0][:, 0, 0, 0].numpy()]


def test_each_iteration_is_a_permutation_that_the_seed_and_its_number_fix(
    numbered: Path, ours: Callable[..., Any]
) -> None:
    dataset = ours(numbered, seed=5, batch_size=3)
    listed = [int(Path(path).stem) for path in dataset.file_paths]
    expected = [[listed[i] for i in order(10, 5, epoch).numpy()] for epoch in range(6)]
    assert [numbers(dataset) for _ in range(3)] == expected[:3]
    assert len({tuple(one) for one in expected}) == 6
    tf.random.set_seed(99)
    derived = ours(numbered, seed=5, batch_size=3).map(lambda images, labels: (images + 1, labels)).prefetch(2)
    assert [numbers(derived.take(2)) for _ in range(2)] == [[i + 1 for i in one[:6]] for one in expected[:2]]
    assert numbers(derived.repeat(2)) == [i + 1 for one in expected[2:4] for i in one]
    kept = ours(numbered, seed=5, reshuffle_each_iteration=False)
    assert [numbers(kept) for _ in range(2)] == [expected[0]] * 2
    assert numbers(ours(numbered, shuffle=False)) == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


def test_without_a_seed_keras_global_one_fixes_the_order(numbered: Path, ours: Callable[..., Any]) -> None:
    def made() -> list[int]:
        keras.utils.set_random_seed(4)
        return numbers(ours(numbered))

    first = made()
    assert first == made()
    keras.utils.set_random_seed(4)
    assert ours(numbered).file_paths != ours(numbered).file_paths


def test_the_validation_part_of_both_stays_in_order(numbered: Path, ours: Callable[..., Any]) -> None:
    train, validation = ours(numbered, seed=5, validation_split=0.4, subset="both")
    assert sorted(numbers(train) + numbers(validation)) == list(range(10))
    assert [numbers(validation) for _ in range(2)] == [[int(Path(path).stem) for path in validation.file_paths]] * 2
    alone = ours(numbered, seed=5, validation_split=0.4, subset="validation")
    assert alone.file_paths == validation.file_paths
    assert numbers(alone) != numbers(alone)


def test_fit_evaluate_predict(numbered: Path, ours: Callable[..., Any]) -> None:
    train, validation = ours(
        numbered, seed=5, validation_split=0.4, subset="both", batch_size=4, label_mode="binary", image_size=(8, 8)
    )
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(train, epochs=3, validation_data=validation, verbose=0, shuffle=False)
    assert len(history.history["val_loss"]) == 3
    listed = [int(Path(path).stem) for path in train.file_paths]
    assert numbers(train) == [listed[i] for i in order(6, 5, 3).numpy()]  # fit has begun three iterations
    assert model.predict(validation, verbose=0).shape == (4, 1)
    assert {"loss", "accuracy"} <= model.evaluate(validation, verbose=0, return_dict=True).keys()


MIRRORED = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
from hh_fast.data.image_dataset import image_dataset_from_directory

def trained(strategy):
    with strategy.scope():
        dataset = image_dataset_from_directory(
            sys.argv[1], seed=5, batch_size=4, image_size=(8, 8), label_mode="binary", cache_dir=sys.argv[2])
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 10), keras.layers.Flatten(),
                                  keras.layers.Dense(1, "sigmoid", kernel_initializer="zeros")])
        model.compile(keras.optimizers.SGD(0.01), "binary_crossentropy")
    if strategy.num_replicas_in_sync == 1:
        next(iter(dataset))  # as Keras does where there is a strategy
    history = model.fit(dataset, epochs=3, verbose=0, shuffle=False)
    return history.history["loss"], model.get_weights()[0]

alone, mirrored = trained(tf.distribute.get_strategy()), trained(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
np.testing.assert_allclose(mirrored[0], alone[0], rtol=1e-5)
np.testing.assert_allclose(mirrored[1], alone[1], rtol=1e-4, atol=1e-7)
"""


@pytest.mark.slow
def test_fit_under_mirrored_strategy_sees_the_same_batches(numbered: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", MIRRORED, str(numbered), str(tmp_path / "cache")], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_augment_touches_training_images_by_seed_iteration_and_place_in_the_listing(
    lossless: Path, ours: Callable[..., Any], cache: str
) -> None:
    augmentation = hh_fast.Augmentation(rotation_range=40, horizontal_flip=True, brightness_range=(0.5, 1.5))
    options = {"seed": 2, "labels": None, "cache": cache, "batch_size": 2}
    plain, dataset = ours(lossless, shuffle=False, **options), ours(lossless, augment=augmentation, **options)
    originals = pixels(plain).astype(np.uint8)
    for number in range(2):
        listed = [plain.file_paths.index(path) for path in dataset.file_paths]
        rows = np.array([listed[i] for i in order(6, 2, number).numpy()])
        expected = augment(augmentation, 2, originals, rows, rows, number)
        np.testing.assert_array_equal(pixels(dataset), expected)
        assert np.abs(expected - originals[rows].astype(float)).mean() > 5
    going_on = ours(lossless, augment=augmentation, initial_epoch=1, **options)
    np.testing.assert_array_equal(pixels(going_on), expected)
    options |= {"validation_split": 0.5, "subset": "both"}
    untouched, augmented = ours(lossless, **options), ours(lossless, augment=augmentation, **options)
    np.testing.assert_array_equal(pixels(augmented[1]), pixels(untouched[1]))
    assert not np.array_equal(pixels(augmented[0]), pixels(untouched[0]))


ERRORS = [
    # arguments, what the message says
    ({"format": "grain"}, '`format` must be "tf"; for "grain" use keras.utils. Received: \'grain\''),
    ({"label_mode": "one_hot"}, "`label_mode` argument must be one of .*'binary', None. Received: one_hot"),
    ({"labels": None, "class_names": ["a"]}, "You can only pass `class_names` .* Received: labels=None"),
    ({"class_names": ["a", "c"]}, r"The `class_names` passed did not match .* has \['a', 'b'\]"),
    ({"image_size": (8, 8, 3)}, r"`image_size` must be two whole numbers .* Received: \(8, 8, 3\)"),
    ({"image_size": (0, 8)}, r"`image_size` must be two whole numbers .* Received: \(0, 8\)"),
    ({"interpolation": "cubic"}, "`interpolation` must be one of 'bilinear', .* Received: 'cubic'"),
    ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "Only one of `crop_to_aspect_ratio` and"),
    ({"batch_size": 0}, "`batch_size` must be at least 1, or None. Received: 0"),
    ({"data_format": "NCHW"}, "`data_format` must be one of 'channels_first', .* Received: 'NCHW'"),
    ({"cache": "ram"}, "`cache` must be one of 'auto', .* Received: 'ram'"),
    ({"bad_images": "ignore"}, "`bad_images` must be one of 'error', 'skip'. Received: 'ignore'"),
    ({"augment": True}, "`augment` must be an hh_fast.Augmentation. Received: True"),
    (
        {"augment": hh_fast.Augmentation(horizontal_flip=True), "color_mode": "rgba"},
        '`color_mode` must be "rgb" where `augment` is given. Received: .rgba',
    ),
    ({"initial_epoch": -1}, "`initial_epoch` must be at least 0. Received: -1"),
    ({"dtype": "float16"}, "`dtype` must be one of 'float32', 'uint8'. Received: 'float16'"),
    (
        {"validation_split": 0.05, "subset": "both", "seed": 1},
        "`validation_split` must leave a validation image of the 10. Received: 0.05",
    ),
    ({"labels": [1, 2]}, "Expected the lengths of `labels` to match .* Received: 2 labels for the 10 files in"),
]


@pytest.mark.parametrize(("options", "message"), ERRORS, ids=str)
def test_errors(numbered: Path, ours: Callable[..., Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ours(numbered, **options)


def test_folders_that_are_elsewhere_or_nowhere(tmp_path: Path, ours: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="`directory` must be a local folder. Received: gs://bucket"):
        ours("gs://bucket/pictures")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ours(tmp_path / "nowhere")


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_bad_images_are_named_or_left_out(numbered: Path, ours: Callable[..., Any], cache: str) -> None:
    (numbered / "a" / "4.png").write_bytes((numbered / "a" / "4.png").read_bytes()[:-20])
    (numbered / "b" / "5.png").write_bytes(b"")
    with pytest.raises(DataError, match=r'2 of 10 .*4\.png: .*5\.png: .* skip them with bad_images="skip"'):
        ours(numbered, cache=cache)
    dataset = ours(numbered, cache=cache, bad_images="skip", seed=1, batch_size=3)
    assert sorted(numbers(dataset)) == [0, 1, 2, 3, 6, 7, 8, 9]
    assert len(dataset.file_paths) == 8
    assert dataset.cardinality() == 3
    for path in ours(numbered, bad_images="skip", seed=1, validation_split=0.2, subset="validation").file_paths:
        Path(path).write_bytes(b"")
    with pytest.raises(UsageError, match="`bad_images` leaves no validation image that can be used. Received: 'skip'"):
        ours(numbered, cache=cache, bad_images="skip", seed=1, validation_split=0.2, subset="both")
    kept = theirs(numbered, seed=1, verbose=False).file_paths
    assert dataset.file_paths == [path for path in kept if Path(path).stem not in ("4", "5")]


def test_what_keras_does_not_list_and_copies_across_the_split_are_warned_of(
    numbered: Path, ours: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("b/1.webp", "a/2.HEIC", "3.webp", "a/notes.txt"):
        (numbered / name).write_bytes(b"")
    for i in range(10):
        shutil.copy(numbered / "a" / "0.png", numbered / "a" / f"{i + 10}.png")
    ours(numbered, validation_split=0.4, subset="validation", seed=1)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert (
        warnings[0] == f"Left out 3 files: .webp (2), .heic (1) in {numbered}, with suffixes that Keras does not read"
    )
    assert "of the 8 validation images are also training images (byte-identical)" in warnings[1]


def test_verbose_says_what_keras_says(
    numbered: Path, ours: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"validation_split": 0.4, "subset": "both", "seed": 1}
    theirs(numbered, **options)
    expected = capsys.readouterr().out
    ours(numbered, verbose=True, **options)
    assert (
        capsys.readouterr().out
        == expected
        == "Found 10 files belonging to 2 classes.\nUsing 6 files for training.\nUsing 4 files for validation.\n"
    )


def test_the_autotuner_stays_off(numbered: Path, ours: Callable[..., Any]) -> None:
    dataset = ours(numbered)
    assert dataset.prefetch(tf.data.AUTOTUNE).options().autotune.enabled is False


def test_labels_of_text_are_handed_out_as_keras_does(numbered: Path, ours: Callable[..., Any]) -> None:
    labels = ["cat", "dog"] * 5
    mine = ours(numbered, labels=labels, shuffle=False)
    keras_own = theirs(numbered, labels=labels, shuffle=False, verbose=False, image_size=SIZE)
    assert mine.class_names == keras_own.class_names
    for (_, one), (_, other) in zip(mine, keras_own, strict=True):
        assert one.numpy().tolist() == other.numpy().tolist()


def test_the_limit_of_pixels_can_be_lifted_and_lowered(lossless: Path, ours: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="3 of 6 images cannot be used: .* more than max_image_pixels=600"):
        ours(lossless, labels=None, max_image_pixels=600)
    with pytest.raises(UsageError, match="`max_image_pixels` must be at least 1. Received: 0"):
        ours(lossless, labels=None, max_image_pixels=0)
    assert len(ours(lossless, labels=None, max_image_pixels=10**9).file_paths) == 6


def test_a_line_is_padded(tmp_path: Path, ours: Callable[..., Any]) -> None:
    (tmp_path / "lines" / "a").mkdir(parents=True)
    Image.new("RGB", (4000, 10), (9, 9, 9)).save(tmp_path / "lines" / "a" / "line.png")
    made = pixels(ours(tmp_path / "lines", labels=None, pad_to_aspect_ratio=True))
    assert np.flatnonzero(made.any(axis=(0, 2, 3))).tolist() == [9]
    assert (made[0, 9] == 9).all()
