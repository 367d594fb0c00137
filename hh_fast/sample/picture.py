"""One picture of the built-in sample: a scene, a figure in it, light, shadow and grain."""

import math
import random

import numpy as np

from hh_fast.sample.horse import horse
from hh_fast.sample.human import human
from hh_fast.sample.props import props
from hh_fast.sample.scene import backdrop, grain, noise
from hh_fast.sample.solids import Camera, Limb, Vector, cosine, paint, project, seen, sine

FIGURES = {"horses": horse, "humans": human}


def draw(class_name: str, rng: random.Random, image_size: int) -> np.ndarray:
    """A picture of `class_name` ("horses" or "humans"): uint8 (image_size, image_size, 3), determined by the state of `rng`."""
    figure = FIGURES[class_name](rng)
    light, ambient = _lamp(rng), rng.uniform(0.3, 0.6)
    blotches = noise(rng, (image_size, image_size), rng.choice((6, 10, 16))) > np.float32(0.55)
    pixels = backdrop(rng, image_size)
    for prop in props(rng, image_size, 2):
        paint(pixels, prop, light, ambient, blotches)
    camera = _camera(figure, rng, image_size)
    _shadow(pixels, figure, camera)
    paint(pixels, seen(figure, camera), light, ambient, blotches)
    return _developed(pixels, rng)


def _lamp(rng: random.Random) -> Vector:
    x, y, z = rng.uniform(-0.8, 0.8), rng.uniform(-1, -0.2), rng.uniform(0.4, 1)
    length = math.sqrt(x * x + y * y + z * z)
    return (x / length, y / length, z / length)


def _camera(figure: list[Limb], rng: random.Random, image_size: int) -> Camera:
    """A camera such that the area of the figure in the picture has the same distribution in both classes."""
    yaw = rng.choice((0.0, math.pi)) + (rng.uniform(-0.5, 0.5) if rng.random() < 0.97 else rng.uniform(-1.5, 1.5))
    turn = Camera(yaw, rng.uniform(0.0, 0.3), rng.uniform(-0.08, 0.08), 1.0, (0.0, 0.0))
    plain = seen(figure, turn)
    scale = math.sqrt(rng.uniform(0.1, 0.18) / _area(plain)) * image_size
    xs = [x for limb in plain for x in (limb.start[0], limb.end[0])]
    ys = [y for limb in plain for y in (limb.start[1], limb.end[1])]
    scale = min(scale, 0.95 * image_size / max(max(xs) - min(xs), max(ys) - min(ys)))
    middle = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
    place = [image_size * rng.uniform(0.45, 0.55) - scale * middle[axis] for axis in (0, 1)]
    return turn._replace(scale=scale, center=(place[0], place[1]))


def _area(limbs: list[Limb]) -> float:
    """The area that limbs cover together, in units squared, on a coarse grid."""
    cell = 0.02
    rows: dict[int, int] = {}  # each a set of columns, as bits; 1,000 is more than any column is to the left
    for limb in limbs:
        (x0, y0, _), (x1, y1, _) = limb.start, limb.end
        steps = max(1, int((abs(x1 - x0) + abs(y1 - y0)) / cell))
        for step in range(steps + 1):
            share = step / steps
            x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
            radius = limb.start_radius + share * (limb.end_radius - limb.start_radius)
            reach = int(radius / cell)
            for row in range(-reach, reach + 1):
                half = math.isqrt(reach * reach - row * row)
                bits = ((1 << 2 * half + 1) - 1) << int(x / cell) - half + 1000
                rows[int(y / cell) + row] = rows.get(int(y / cell) + row, 0) | bits
    return sum(bits.bit_count() for bits in rows.values()) * cell * cell


def _shadow(pixels: np.ndarray, figure: list[Limb], camera: Camera) -> None:
    xs = [x for limb in figure for x in (limb.start[0], limb.end[0])]
    middle = project(((min(xs) + max(xs)) / 2, 0.0, 0.0), camera)
    across = (max(xs) - min(xs)) / 2 * camera.scale * max(0.35, abs(cosine(camera.yaw))) * 1.1
    upright = across * max(0.12, sine(camera.pitch))
    rows, columns = np.indices(pixels.shape[:2], dtype=np.float32)
    x, y = (columns - np.float32(middle[0])) / np.float32(across), (rows - np.float32(middle[1])) / np.float32(upright)
    pixels *= 1 - np.float32(0.5) * np.clip(1 - (x * x + y * y), 0, 1)[..., None]


def _developed(pixels: np.ndarray, rng: random.Random) -> np.ndarray:
    """Exposure, tint and grain; uint8."""
    exposure = rng.uniform(0.75, 1.15)
    tint = np.asarray([exposure * rng.uniform(0.9, 1.1) for _ in range(3)], np.float32)
    speckle = grain(rng, len(pixels), rng.randrange(2, 9), 3 if rng.random() < 0.7 else 1)
    return np.clip((pixels * tint + speckle) * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
