"""A small renderer: figures made of round limbs, seen from a camera, lit by one lamp, painted over a picture.

Coordinates are (x, y, z): x to the right, y up, z towards the viewer. Only +, -, *, / and square roots touch the
pixels, which IEEE 754 fixes to the bit, and sines are rounded, so a picture is the same on every machine.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

Vector = tuple[float, float, float]
Color = tuple[float, float, float]


class Limb(NamedTuple):
    """A solid swept by a ball that goes from `start` to `end` while its radius changes; colors have values 0..1."""

    start: Vector
    end: Vector
    start_radius: float
    end_radius: float
    color: Color
    second_color: Color | None = None  # stripes across the limb, where given
    num_stripes: int = 0


class Camera(NamedTuple):
    """Where a figure's own coordinates go in the picture: turned about y, x, then z (radians), scaled, and moved."""

    yaw: float
    pitch: float
    roll: float
    scale: float  # pixels a unit
    center: tuple[float, float]  # pixel (x, y) of the figure's origin


class Canvas(NamedTuple):
    """`pixels` float32 (height, width, 3) with values 0..1, and `depth` float32 (height, width), larger is nearer."""

    pixels: np.ndarray
    depth: np.ndarray


def sine(angle: float) -> float:
    return round(math.sin(angle), 9)


def cosine(angle: float) -> float:
    return round(math.cos(angle), 9)


def add(a: Vector, b: Vector, factor: float = 1.0) -> Vector:
    """`a` + `factor` * `b`."""
    return (a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2])


def between(a: Vector, b: Vector, share: float) -> Vector:
    return (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), a[2] + share * (b[2] - a[2]))


def heading(swing: float, spread: float = 0.0) -> Vector:
    """The unit vector that hangs down at (0, 0), swings forward (to +x) by `swing` and to +z by `spread` radians."""
    return (sine(swing) * cosine(spread), -cosine(swing) * cosine(spread), sine(spread))


def turned(point: Vector, angle: float, pivot: Vector) -> Vector:
    """`point` turned about the z axis through `pivot`, from x towards y, by `angle` radians."""
    x, y = point[0] - pivot[0], point[1] - pivot[1]
    return (
        pivot[0] + cosine(angle) * x - sine(angle) * y,
        pivot[1] + sine(angle) * x + cosine(angle) * y,
        point[2],
    )


def on_ground(limbs: Sequence[Limb]) -> list[Limb]:
    """The same figure moved so that its lowest point has y = 0."""
    lowest = min(min(l.start[1] - l.start_radius, l.end[1] - l.end_radius) for l in limbs)
    down = (0.0, -lowest, 0.0)
    return [l._replace(start=add(l.start, down), end=add(l.end, down)) for l in limbs]


def project(point: Vector, camera: Camera) -> Vector:
    """Pixel x, pixel y and depth (in pixels too) of `point`."""
    x, y, z = point
    x, z = cosine(camera.yaw) * x + sine(camera.yaw) * z, cosine(camera.yaw) * z - sine(camera.yaw) * x
    y, z = cosine(camera.pitch) * y - sine(camera.pitch) * z, cosine(camera.pitch) * z + sine(camera.pitch) * y
    x, y = cosine(camera.roll) * x - sine(camera.roll) * y, cosine(camera.roll) * y + sine(camera.roll) * x
    return (camera.center[0] + camera.scale * x, camera.center[1] - camera.scale * y, camera.scale * z)


def seen(limbs: Iterable[Limb], camera: Camera) -> list[Limb]:
    """The limbs in pixels, the farthest first."""
    projected = [
        l._replace(
            start=project(l.start, camera),
            end=project(l.end, camera),
            start_radius=l.start_radius * camera.scale,
            end_radius=l.end_radius * camera.scale,
        )
        for l in limbs
    ]
    return sorted(projected, key=lambda l: l.start[2] + l.end[2])


def _window(limb: Limb, shape: tuple[int, ...]) -> tuple[slice, slice]:
    radius = max(limb.start_radius, limb.end_radius) + 1
    xs, ys = (limb.start[0], limb.end[0]), (limb.start[1], limb.end[1])
    left, right = max(0, math.floor(min(xs) - radius)), min(shape[1], math.ceil(max(xs) + radius) + 1)
    top, bottom = max(0, math.floor(min(ys) - radius)), min(shape[0], math.ceil(max(ys) + radius) + 1)
    return slice(top, max(top, bottom)), slice(left, max(left, right))


def paint(canvas: Canvas, limbs: Iterable[Limb], light: Vector, ambient: float) -> None:
    """Paints limbs (in pixels, the farthest first) over the canvas, edges smooth.

    `light` is the unit vector towards the lamp in picture coordinates (y down), `ambient` the light (0..1) in its shade.
    """
    for limb in limbs:
        _paint_limb(canvas, limb, light, ambient)


def _paint_limb(canvas: Canvas, limb: Limb, light: Vector, ambient: float) -> None:
    rows, columns = _window(limb, canvas.depth.shape)
    depth = canvas.depth[rows, columns]
    if not depth.size:
        return
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] - np.float32(limb.start[0])
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(limb.start[1])
    run_x, run_y, run_z = (np.float32(limb.end[k] - limb.start[k]) for k in range(3))
    length = max(run_x * run_x + run_y * run_y, np.float32(1e-3))
    along = np.clip((x * run_x + y * run_y) / length, 0, 1)
    off_x, off_y = x - along * run_x, y - along * run_y
    radius = np.float32(limb.start_radius) + along * np.float32(limb.end_radius - limb.start_radius)
    distance_2 = off_x * off_x + off_y * off_y
    height = np.sqrt(np.maximum(radius * radius - distance_2, 0))
    near = np.float32(limb.start[2]) + along * run_z + height
    cover = np.clip(radius - np.sqrt(distance_2) + np.float32(0.5), 0, 1) * (near >= depth)
    facing = (off_x * np.float32(light[0]) + off_y * np.float32(light[1]) + height * np.float32(light[2])) / radius
    # Darker towards the rim, so that limbs stand out from each other where they cross.
    shade = np.float32(ambient) + np.float32(1 - ambient) * np.maximum(facing, 0)
    shade *= np.float32(0.62) + np.float32(0.38) * height / radius
    color = np.asarray(limb.color, np.float32)
    if limb.second_color is not None:
        odd = (along * np.float32(limb.num_stripes)).astype(np.int32) & 1
        color = np.where(odd[..., None] == 1, np.asarray(limb.second_color, np.float32), color)
    pixels = canvas.pixels[rows, columns]
    pixels += cover[..., None] * (shade[..., None] * color - pixels)
    np.copyto(depth, near, where=cover > np.float32(0.5))
