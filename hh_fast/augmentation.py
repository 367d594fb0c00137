"""ImageDataGenerator's augmentation as pure functions: (seed, epoch, index) -> parameters, (image, parameters) -> image.

Images stay uint8, and rotation, shifts, shear, zoom and flips are one bilinear resampling of them. No TensorFlow.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np

from hh_fast.errors import require

Range: TypeAlias = "float | int | Sequence[float]"
# By the names of `ImageDataGenerator.get_random_transform`, one value per image, float64 or bool (n,). Missing ones do nothing.
Parameters: TypeAlias = dict[str, np.ndarray]

BORDERS = {
    "nearest": cv2.BORDER_REPLICATE,
    "constant": cv2.BORDER_CONSTANT,
    "reflect": cv2.BORDER_REFLECT,
    "wrap": cv2.BORDER_WRAP,
}
AFFINE = ("theta", "tx", "ty", "shear", "zx", "zy")
# OpenCV's flip codes by the signs of x and y.
FLIPS = {(-1, 1): 1, (1, -1): 0, (-1, -1): -1}
NUM_DRAWS = 12
# An image is padded before resampling, up to this many times its size.
MAX_WIDENED = 9


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and bool(np.isfinite(value))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Ranges of random changes to training images, with the meanings documented by ImageDataGenerator.

    `Augmentation()` changes nothing; each range turns on only itself.

        >>> augmentation = hh_fast.Augmentation(rotation_range=40, zoom_range=0.2, horizontal_flip=True)
        >>> train = hh_fast.image_dataset_from_directory("pictures", seed=1, augment=augmentation)

    Args:
        rotation_range: Rotate by up to this many degrees in either direction.
        width_shift_range: Shift left or right. A float below 1: by up to this fraction of the width; a float from 1: by up to this
            many pixels. An int n: by a whole number of pixels within (-n, n). A sequence: by one of its elements, in either
            direction, in pixels, or as fractions of the width if all are below 1.
        height_shift_range: The same, up or down.
        shear_range: Shear by an angle of up to this many degrees in either direction.
        zoom_range: [lower, upper]: scale width and height independently, each by 1 / a random number between these, so numbers
            below 1 enlarge. A float z: [1 - z, 1 + z].
        horizontal_flip: Mirror left to right, half of the time.
        vertical_flip: Mirror top to bottom, half of the time.
        brightness_range: [lower, upper]: multiply by a random number between these.
        channel_shift_range: Add a random number of up to this many of the 255 levels, positive or negative, to all channels,
            clipped to the image's own range of values.
        fill_mode: How the area outside of the image abcd is filled: `nearest` aaaa|abcd|dddd, `constant` (`cval`), `reflect`
            dcba|abcd|dcba, `wrap` abcd|abcd|abcd.
        cval: The value, 0 to 255, for `fill_mode="constant"`.

    Raises:
        UsageError: a value out of its range.
    """

    rotation_range: float = 0.0
    width_shift_range: Range = 0.0
    height_shift_range: Range = 0.0
    shear_range: float = 0.0
    zoom_range: float | Sequence[float] = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    brightness_range: Sequence[float] | None = None
    channel_shift_range: float = 0.0
    fill_mode: str = "nearest"
    cval: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, (list, np.ndarray)):
                object.__setattr__(self, name, tuple(value))
        for name, most in {"rotation_range": 360.0, "shear_range": 89.0, "channel_shift_range": 255.0}.items():
            value = getattr(self, name)
            require(_is_number(value) and 0 <= value <= most, f"`{name}` must be a number from 0 to {most:g}", value)
        for name in ("width_shift_range", "height_shift_range"):
            value = getattr(self, name)
            listed = isinstance(value, tuple) and len(value) > 0 and all(map(_is_number, value))
            rule = f"`{name}` must be a number from 0, or a list of numbers"
            require(listed or (_is_number(value) and value >= 0), rule, value)
        lower, upper = _zoom(self.zoom_range)
        require(0 < lower <= upper, "`zoom_range` must be from 0 to under 1, or lower,upper above 0", self.zoom_range)
        if self.brightness_range is not None:
            lower, upper = _pair(self.brightness_range)
            require(0 <= lower <= upper, "`brightness_range` must be lower,upper from 0", self.brightness_range)
        for name in ("horizontal_flip", "vertical_flip"):
            require(isinstance(getattr(self, name), bool), f"`{name}` must be true or false", getattr(self, name))
        require(self.fill_mode in BORDERS, f"`fill_mode` must be one of {', '.join(BORDERS)}", self.fill_mode)
        require(_is_number(self.cval) and 0 <= self.cval <= 255, "`cval` must be a number from 0 to 255", self.cval)

    def __bool__(self) -> bool:
        """Whether anything is ever changed."""
        return self != Augmentation(fill_mode=self.fill_mode, cval=self.cval)

    def __str__(self) -> str:
        """The ranges that are set: `rotation_range 40, horizontal_flip`, or `none`."""
        if not self:
            return "none"
        shown = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            if value != field.default:
                text = value if isinstance(value, str) else ",".join(f"{number:g}" for number in numbers)
                shown.append(field.name if value is True else f"{field.name} {text}")
        return ", ".join(shown)


def _pair(value: Any) -> tuple[float, float]:
    """The two numbers of `value`, or numbers that fail every check."""
    is_pair = isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))
    return value if is_pair else (np.nan, np.nan)


def _zoom(zoom_range: Any) -> tuple[float, float]:
    return (1 - zoom_range, 1 + zoom_range) if _is_number(zoom_range) else _pair(zoom_range)


def _uniform(seed: int, epoch: int, indices: np.ndarray) -> np.ndarray:
    """Numbers from 0 to under 1, float64 (NUM_DRAWS, n), each a function of `seed`, `epoch`, its row and its index alone.

    SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) at positions indices * NUM_DRAWS + row from a start of (seed, epoch).
    """
    start = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    position = indices.astype(np.uint64) * np.uint64(NUM_DRAWS) + np.arange(NUM_DRAWS, dtype=np.uint64)[:, None]
    x = start + (position + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


def _shift(shift_range: Any, side: int, value: np.ndarray, sign: np.ndarray) -> np.ndarray:
    pixels = side if np.max(np.abs(shift_range)) < 1 else 1
    if isinstance(shift_range, (float, np.floating)):
        return (2 * value - 1) * shift_range * pixels
    choices = np.asarray(shift_range if isinstance(shift_range, tuple) else range(shift_range), float)
    return choices[(value * len(choices)).astype(int)] * np.where(sign < 0.5, -1, 1) * pixels


def draw(
    augmentation: Augmentation, image_size: tuple[int, int], *, seed: int, epoch: int, indices: np.ndarray
) -> Parameters:
    """Draws the changes to the images `indices`, int (n,), in `epoch`: a pure function of (seed, epoch, index).

    Returns:
        Of the ranges that are on: `theta` and `shear` in degrees, `tx` (to the left) and `ty` (up) in pixels, `zx`, `zy`,
        `flip_horizontal`, `flip_vertical`, `channel_shift_intensity`, `brightness`. Each is independent of the others, and
        uniform over its range.
    """
    u = _uniform(seed, epoch, np.asarray(indices))
    both_ways = lambda most, row: (2 * row - 1) * most  # noqa: E731
    between = lambda ends, row: ends[0] + row * (ends[1] - ends[0])  # noqa: E731
    a = augmentation
    height, width = image_size
    drawn: Parameters = {}
    if a.rotation_range:
        drawn["theta"] = both_ways(a.rotation_range, u[0])
    if a.width_shift_range:
        drawn["tx"] = _shift(a.width_shift_range, width, u[1], u[2])
    if a.height_shift_range:
        drawn["ty"] = _shift(a.height_shift_range, height, u[3], u[4])
    if a.shear_range:
        drawn["shear"] = both_ways(a.shear_range, u[5])
    if _zoom(a.zoom_range) != (1, 1):
        drawn["zx"], drawn["zy"] = between(_zoom(a.zoom_range), u[6]), between(_zoom(a.zoom_range), u[7])
    if a.horizontal_flip:
        drawn["flip_horizontal"] = u[8] < 0.5
    if a.vertical_flip:
        drawn["flip_vertical"] = u[9] < 0.5
    if a.channel_shift_range:
        drawn["channel_shift_intensity"] = both_ways(a.channel_shift_range, u[10])
    if a.brightness_range is not None:
        drawn["brightness"] = between(a.brightness_range, u[11])
    return drawn


def _matrices(parameters: Parameters, n: int, height: int, width: int) -> np.ndarray:
    """From pixels (x, y) of the new images to those of the old, float64 (n, 2, 3).

    Turned, shifted, sheared and zoomed in this order, and flipped last, all about the image's centre.
    """
    get = lambda name, default: parameters.get(name, np.full(n, default))  # noqa: E731
    theta = np.deg2rad(get("theta", 0.0))
    sheared = theta + np.deg2rad(get("shear", 0.0))
    tx, ty = get("tx", 0.0), get("ty", 0.0)
    x = np.where(get("flip_horizontal", False), -1, 1) * get("zx", 1.0)
    y = np.where(get("flip_vertical", False), -1, 1) * get("zy", 1.0)
    linear = np.array([[np.cos(theta) * x, -np.sin(sheared) * y], [np.sin(theta) * x, np.cos(sheared) * y]])
    turned = np.array([np.cos(theta) * tx - np.sin(theta) * ty, np.sin(theta) * tx + np.cos(theta) * ty])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    offset = centre[:, None] + turned - np.einsum("ijn,j->in", linear, centre)
    return np.ascontiguousarray(np.concatenate([linear, offset[:, None]], 1).transpose(2, 0, 1))


def _is_outside(matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask, uint8 (height, width), of new pixels beyond the centres of the old image's outermost pixels."""
    inside = np.ones((height, width), bool)
    for (mx, my, offset), last in zip(matrix.astype(np.float32), (width - 1, height - 1), strict=True):
        rows = my * np.arange(height, dtype=np.float32)[:, None] + (offset - last / 2)
        inside &= np.abs(rows + mx * np.arange(width, dtype=np.float32)) <= last / 2 + 1e-3
    return (~inside).view(np.uint8)


def _margins(matrices: np.ndarray, height: int, width: int) -> np.ndarray:
    """How far new pixels and their neighbors are outside of the old image: left, top, right and bottom, int (n, 4)."""
    corners = np.array([[x, y, 1.0] for x in (0, width - 1) for y in (0, height - 1)])
    reached = matrices @ corners.T
    before, after = 1 - np.floor(reached.min(2)), np.ceil(reached.max(2)) + 3 - (width, height)
    return np.maximum(np.concatenate([before, after], 1), 0).astype(int)


def _resample(
    image: np.ndarray, matrix: np.ndarray, margin: np.ndarray, new: np.ndarray, scratch: np.ndarray, fill_mode: str
) -> None:
    """Fills `new`; `scratch` is memory for the image with its `margin`."""
    height, width = new.shape[:2]
    left, top, right, bottom = margin.tolist()
    shape = (top + height + bottom, left + width + right, *image.shape[2:])
    # OpenCV takes 1.5 times as long if it has to handle the border itself.
    if margin.any() and np.prod(shape) <= scratch.size:
        wide = scratch[: np.prod(shape)].reshape(shape)
        image = cv2.copyMakeBorder(image, top, bottom, left, right, BORDERS[fill_mode], dst=wide)
        matrix = np.add(matrix, [[0, 0, left], [0, 0, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(image, matrix, (width, height), dst=new, flags=flags, borderMode=BORDERS[fill_mode])


def _fill_outside(matrix: np.ndarray, new: np.ndarray, cval: float) -> None:
    """SciPy's `constant`: `cval` from the outermost pixels' centres on, where OpenCV would blend the two."""
    cv2.copyTo(np.full_like(new, round(cval)), _is_outside(matrix, *new.shape[:2]), dst=new)


def _recolour(image: np.ndarray, shift: float | None, brightness: float | None) -> None:
    """Changes uint8 `image` in place, with Pillow's rounding down where its brightness would be used."""
    levels = np.arange(256.0)
    if shift is not None:
        lowest, highest, _, _ = cv2.minMaxLoc(image.reshape(len(image), -1))
        levels = np.clip(levels + shift, lowest, highest)
    levels = np.rint(levels) if brightness is None else np.minimum(np.floor(levels) * np.float32(brightness), 255)
    cv2.LUT(image, levels.astype(np.uint8), dst=image)


def apply(
    images: Sequence[np.ndarray],
    parameters: Parameters,
    *,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Changes `images`, n of uint8 (height, width, 3) and one size, by `parameters` as `ImageDataGenerator.apply_transform` does.

    Returns:
        uint8 (n, height, width, 3), which is `out` where given. It is within rounding of the original's float32, save where
        the original is odd: it takes another centre where height and width differ, its `wrap` repeats after one pixel too few,
        and its brightness rounds interpolated values down.
    """
    height, width = images[0].shape[:2]
    out = np.empty((len(images), height, width, 3), np.uint8) if out is None else out
    matrices = _matrices(parameters, len(images), height, width)
    resampled = any(name in parameters for name in AFFINE)
    margins = _margins(matrices, height, width)
    scratch = np.empty(MAX_WIDENED * images[0].size, np.uint8)
    colours = [parameters.get(name, [None] * len(images)) for name in ("channel_shift_intensity", "brightness")]
    for image, matrix, margin, new, shift, brightness in zip(images, matrices, margins, out, *colours, strict=True):
        if resampled:
            _resample(image, matrix, margin, new, scratch, fill_mode)
            if fill_mode == "constant":
                _fill_outside(matrix, new, cval)
        elif matrix[0, 0] == matrix[1, 1] == 1:
            np.copyto(new, image)
        else:
            cv2.flip(image, FLIPS[matrix[0, 0], matrix[1, 1]], dst=new)
        if shift is not None or brightness is not None:
            _recolour(new, shift, brightness)
    return out
