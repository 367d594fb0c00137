"""Augmentation: equal to ImageDataGenerator's for given parameters, drawn as its are, a function of (seed, epoch, index)."""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, stats

from hh_fast.augmentation import Augmentation, Parameters, apply, draw
from hh_fast.errors import UsageError

# The original calls SciPy by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")

ImageDataGenerator = tf.keras.preprocessing.image.ImageDataGenerator

GEOMETRY = {"theta": 33.0, "tx": 9.3, "ty": -6.6, "shear": 12.0, "zx": 0.87, "zy": 1.21}
FLIPS = {"flip_horizontal": True, "flip_vertical": True}
COLOURS = {"channel_shift_intensity": 21.0, "brightness": 1.2}
ALL = {**GEOMETRY, **FLIPS, **COLOURS}
# What an image is changed by, and how far any of its values may be from the original's, of 255. A uint8 is within 0.5 of the
# float32 that it rounds; Pillow's brightness multiplies what is a level off, and rounds again.
CASES: dict[str, tuple[dict[str, Any], float]] = {
    **{name: ({name: value}, 0.51) for name, value in (GEOMETRY | FLIPS).items()},
    "all geometry": (GEOMETRY | FLIPS, 0.51),
    "far away": ({"theta": 10.0, "tx": 300.4, "ty": -200.7}, 0.51),
    "darker": ({"brightness": 0.4}, 0.0),
    "brighter": ({"brightness": 1.7}, 0.0),
    "channel shift up": ({"channel_shift_intensity": 40.0}, 0.51),
    "channel shift down": ({"channel_shift_intensity": -33.3}, 0.51),
    "all": (ALL, 2.0),
}


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """uint8 (80, 80, 3), values 20 to 230: waves, edges and noise, no two sides alike."""
    y, x = np.mgrid[:80, :80].astype(float)
    waves = [np.sin(x / 5) + np.cos(y / 9), np.sin((x + y) / 7) + x / 40 - 1, np.cos(x * y / 700) + y / 40 - 1]
    pixels = 125 + 40 * np.stack(waves, -1) + np.random.default_rng(0).normal(0, 8, (80, 80, 3))
    pixels[20:40, 50:70] = (230, 60, 20)
    pixels[::16] -= 30
    return np.clip(pixels, 20, 230).astype(np.uint8)


def many(parameters: dict[str, Any], n: int = 1) -> Parameters:
    return {name: np.repeat(value, n) for name, value in parameters.items()}


def changed(image: np.ndarray, parameters: dict[str, Any], **fill: Any) -> np.ndarray:
    return apply([image], many(parameters), **fill)[0]


def original(image: np.ndarray, parameters: dict[str, Any], **fill: Any) -> np.ndarray:
    return ImageDataGenerator(**fill).apply_transform(image.astype(np.float32), parameters)


@pytest.mark.parametrize("fill_mode", ["nearest", "constant", "reflect"])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_original(name: str, fill_mode: str, image: np.ndarray) -> None:
    parameters, tolerance = CASES[name]
    fill = {"fill_mode": fill_mode, "cval": 77.0}
    ours = changed(image, parameters, **fill)
    difference = np.abs(original(image, parameters, **fill) - ours)
    assert (ours != image).any()
    assert difference.mean() <= 1
    assert difference.max() <= tolerance


@pytest.mark.parametrize("fill_mode", ["nearest", "constant", "reflect"])
def test_drawn_transforms_equal_the_original(fill_mode: str, image: np.ndarray) -> None:
    ranges: dict[str, Any] = {"rotation_range": 180, "width_shift_range": 0.6, "height_shift_range": 0.6}
    ranges |= {"shear_range": 40, "zoom_range": 0.6, "horizontal_flip": True, "vertical_flip": True}
    drawn = draw(Augmentation(**ranges), (80, 80), seed=0, epoch=0, indices=np.arange(20))
    fill = {"fill_mode": fill_mode, "cval": 77.0}
    ours = apply([image] * 20, drawn, **fill)
    theirs = [original(image, {name: values[i] for name, values in drawn.items()}, **fill) for i in range(20)]
    difference = np.abs(np.stack(theirs) - ours)
    # A pixel on the very edge may be in or out: there the last digit decides.
    assert np.percentile(difference, 99.9) <= 0.51


def test_wrap_repeats_the_whole_image(image: np.ndarray) -> None:
    shift = {"tx": 12.25, "ty": -9.5}
    grid = [ndimage.shift(image[..., c].astype(float), (9.5, -12.25), order=1, mode="grid-wrap") for c in range(3)]
    assert np.abs(np.stack(grid, -1) - changed(image, shift, fill_mode="wrap")).max() <= 0.51
    # SciPy's `wrap`, the original's, repeats after 79 of 80 pixels: it is the same where nothing has been wrapped.
    theirs = original(image, shift, fill_mode="wrap")
    assert np.abs(theirs - changed(image, shift, fill_mode="wrap"))[10:, :67].max() <= 0.51


def test_the_centre_is_the_images_own_where_it_is_not_square(image: np.ndarray) -> None:
    wide = image[:50]
    np.testing.assert_array_equal(changed(wide, {"theta": 180.0}), wide[::-1, ::-1])
    np.testing.assert_array_equal(changed(wide, {"theta": 180.0, "flip_horizontal": True, "flip_vertical": True}), wide)
    for parameters in ({"tx": 5.5, "ty": 3.2}, FLIPS):
        assert np.abs(original(wide, parameters) - changed(wide, parameters)).max() <= 0.51


def test_the_original_image_stays_and_out_is_filled(image: np.ndarray) -> None:
    image = image.copy()
    image.flags.writeable = False
    for parameters in (ALL, FLIPS, COLOURS, {}):
        out = np.zeros((2, 80, 80, 3), np.uint8)
        result = apply([image, image], many(parameters, 2), out=out)
        assert result is out
        np.testing.assert_array_equal(out[1], changed(image, parameters))
        assert out.any()


RANGES: dict[str, Any] = {
    "rotation_range": 40,
    "width_shift_range": 0.2,
    "height_shift_range": 7.5,
    "shear_range": 3.0,
    "zoom_range": (0.5, 1.25),
    "horizontal_flip": True,
    "vertical_flip": True,
    "brightness_range": (0.25, 1.75),
    "channel_shift_range": 30.0,
}
# The generator draws `tx`, which moves columns, from height_shift_range and the image's height, against its documentation.
THEIR_NAMES = {"tx": "ty", "ty": "tx"}


def both_draws(ranges: dict[str, Any], n: int) -> tuple[Parameters, dict[str, np.ndarray]]:
    ours = draw(Augmentation(**ranges), (60, 100), seed=3, epoch=2, indices=np.arange(n))
    generator = ImageDataGenerator(**ranges)
    np.random.seed(0)
    theirs = [generator.get_random_transform((60, 100, 3)) for _ in range(n)]
    return ours, {name: np.array([t[THEIR_NAMES.get(name, name)] for t in theirs], float) for name in ours}


def test_drawn_from_the_originals_distributions() -> None:
    ours, theirs = both_draws(RANGES, 4000)
    assert len(ours) == 10
    for name, values in ours.items():
        assert stats.ks_2samp(values, theirs[name], method="asymp").pvalue > 1e-3, name
        assert len(np.unique(values)) == (2 if name.startswith("flip") else 4000)


@pytest.mark.parametrize("shift", [3, 1, 2.0, 0.5, [1, 4, 9], [-0.5, 0.0, 0.25]])
def test_each_form_of_a_shift_is_drawn_as_the_original_draws_it(shift: Any) -> None:
    ours, theirs = both_draws({"width_shift_range": shift, "height_shift_range": shift}, 4000)
    for name, side in {"tx": 100, "ty": 60}.items():
        if isinstance(shift, float):
            assert stats.ks_2samp(ours[name], theirs[name], method="asymp").pvalue > 1e-3
            assert np.abs(ours[name]).max() == pytest.approx(shift * side if shift < 1 else shift, rel=0.01)
        else:
            values, counts = np.unique(ours[name], return_counts=True)
            their_values, their_counts = np.unique(theirs[name], return_counts=True)
            np.testing.assert_allclose(values, their_values)
            np.testing.assert_allclose(counts, their_counts, atol=150)


def test_draws_of_a_parameter_do_not_depend_on_the_others() -> None:
    ours, _ = both_draws(RANGES, 4000)
    assert np.abs(np.corrcoef(list(ours.values())) - np.eye(10)).max() < 0.06
    for name, value in RANGES.items():
        alone = draw(Augmentation(**{name: value}), (60, 100), seed=3, epoch=2, indices=np.arange(4000))
        for parameter, values in alone.items():
            np.testing.assert_array_equal(values, ours[parameter])


def test_a_draw_is_a_function_of_seed_epoch_and_index() -> None:
    at = lambda **changes: draw(  # noqa: E731
        Augmentation(**RANGES), (60, 100), **{"seed": 5, "epoch": 1, "indices": np.arange(50), **changes}
    )
    whole = at()
    order = np.random.default_rng(0).permutation(50)
    for indices in (order, order[:3], np.array([49]), np.arange(50).astype(np.int32)):
        for name, values in at(indices=indices).items():
            np.testing.assert_array_equal(values, whole[name][indices])
    for other in (at(seed=6), at(epoch=2), at(seed=1, epoch=5), at(indices=np.arange(50, 100))):
        assert not np.intersect1d(other["theta"], whole["theta"]).size


@pytest.mark.parametrize("name, moved", [("width_shift_range", 1), ("height_shift_range", 0)])
def test_shifts_go_along_the_documented_axis(name: str, moved: int, image: np.ndarray) -> None:
    drawn = draw(Augmentation(**{name: [5]}), (80, 80), seed=0, epoch=0, indices=np.array([0]))
    result = apply([image], drawn)[0]
    assert any((result[10:70, 10:70] == np.roll(image, by, moved)[10:70, 10:70]).all() for by in (5, -5))


def test_nothing_changes_by_default(image: np.ndarray) -> None:
    assert not Augmentation()
    assert not Augmentation(fill_mode="constant", cval=9)
    drawn = draw(Augmentation(), (80, 80), seed=0, epoch=0, indices=np.arange(2))
    assert drawn == {}
    np.testing.assert_array_equal(apply([image, image], drawn), [image, image])


def test_a_range_alone_turns_on_only_itself() -> None:
    names = {}
    for name, value in RANGES.items():
        assert Augmentation(**{name: value})
        names[name] = sorted(draw(Augmentation(**{name: value}), (60, 100), seed=0, epoch=0, indices=np.array([0])))
    assert sorted(sum(names.values(), [])) == sorted(both_draws(RANGES, 1)[0])
    assert names["zoom_range"] == ["zx", "zy"]


@pytest.mark.parametrize(
    "name, value, rule",
    [
        ("rotation_range", -1, "a number from 0 to 360"),
        ("rotation_range", float("nan"), "a number from 0 to 360"),
        ("rotation_range", True, "a number from 0 to 360"),
        ("width_shift_range", -0.1, "a number from 0, or a list of numbers"),
        ("width_shift_range", (), "a number from 0, or a list of numbers"),
        ("height_shift_range", ("a",), "a number from 0, or a list of numbers"),
        ("shear_range", 90, "a number from 0 to 89"),
        ("zoom_range", 1, "from 0 to under 1, or lower,upper above 0"),
        ("zoom_range", (0.0, 2.0), "from 0 to under 1, or lower,upper above 0"),
        ("zoom_range", (1.2, 0.8), "from 0 to under 1, or lower,upper above 0"),
        ("brightness_range", (1.0,), "lower,upper from 0"),
        ("brightness_range", 0.5, "lower,upper from 0"),
        ("channel_shift_range", 256, "a number from 0 to 255"),
        ("horizontal_flip", 1, "true or false"),
        ("fill_mode", "mirror", "one of nearest, constant, reflect, wrap"),
        ("cval", 256, "a number from 0 to 255"),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: Any, rule: str) -> None:
    with pytest.raises(UsageError) as e:
        Augmentation(**{name: value})
    assert str(e.value) == f"`{name}` must be {rule}. Received: {value}"


def test_as_text_it_says_what_is_on() -> None:
    assert str(Augmentation(fill_mode="wrap")) == "none"
    text = "rotation_range 40, zoom_range 0.8,1.2, horizontal_flip, fill_mode wrap"
    assert text == str(Augmentation(rotation_range=40.0, zoom_range=[0.8, 1.2], horizontal_flip=True, fill_mode="wrap"))


def test_lists_are_kept_as_tuples() -> None:
    listed = Augmentation(width_shift_range=[1, 2], zoom_range=np.array([0.5, 1.0]))
    assert listed == Augmentation(width_shift_range=(1, 2), zoom_range=(0.5, 1.0))
    assert hash(listed) == hash(dataclasses.replace(listed))


def test_the_page_for_users_of_the_original_names_each_of_its_arguments() -> None:
    page = (Path(__file__).parent.parent / "examples" / "from_image_data_generator.md").read_text()
    tables = re.findall(r"^\| (.*?) \|", page, re.MULTILINE)
    named = {word for row in tables for word in re.findall(r"`(\w+)", row)}
    for function in (ImageDataGenerator.__init__, ImageDataGenerator.flow_from_directory):
        assert set(inspect.signature(function).parameters) - {"self"} <= named
