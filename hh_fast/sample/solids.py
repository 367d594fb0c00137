"""A small renderer: figures made of round limbs, seen from a camera, lit by one lamp, painted over a picture.

Coordinates are (x, y, z): x to the right, y up, z towards the viewer. Only +, -, *, / and square roots touch the
pixels, which IEEE 754 fixes to the bit, and sines are rounded, so a picture is the same on every machine.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from hh_fast.sample.palette import Color

Vector = tuple[float, float, float]


NOTHING = np.float32(-1e6)  # the depth where nothing was painted


class Limb(NamedTuple):
    """A solid swept by a ball that goes from `start` to `end` while its radius changes; colors have values 0..1."""

    start: Vector
    end: Vector
    start_radius: float
    end_radius: float
    color: Color
    second_color: Color | None = None
    num_stripes: int = 0  # of the second color, across the limb; 0: blotches


class Camera(NamedTuple):
    """Where a figure's own coordinates go in the picture: turned about y, x, then z (radians), scaled, and moved."""

    yaw: float
    pitch: float
    roll: float
    scale: float  # pixels a unit
    center: tuple[float, float]  # pixel (x, y) of the figure's origin


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
    lowest = min(min(limb.start[1] - limb.start_radius, limb.end[1] - limb.end_radius) for limb in limbs)
    down = (0.0, -lowest, 0.0)
    return [limb._replace(start=add(limb.start, down), end=add(limb.end, down)) for limb in limbs]


def project(point: Vector, camera: Camera) -> Vector:
    """Pixel x, pixel y and depth (in pixels too) of `point`."""
    x, y, z = point
    x, z = cosine(camera.yaw) * x + sine(camera.yaw) * z, cosine(camera.yaw) * z - sine(camera.yaw) * x
    y, z = cosine(camera.pitch) * y - sine(camera.pitch) * z, cosine(camera.pitch) * z + sine(camera.pitch) * y
    x, y = cosine(camera.roll) * x - sine(camera.roll) * y, cosine(camera.roll) * y + sine(camera.roll) * x
    return (camera.center[0] + camera.scale * x, camera.center[1] - camera.scale * y, camera.scale * z)


def seen(limbs: Iterable[Limb], camera: Camera) -> list[Limb]:
    """The limbs in pixels, the farthest first."""
    projected = []
    for limb in limbs:
        placed = limb._replace(
            start=project(limb.start, camera),
            end=project(limb.end, camera),
            start_radius=limb.start_radius * camera.scale,
            end_radius=limb.end_radius * camera.scale,
        )
        projected += _balls(placed) if _points_at_viewer(placed) else [placed]
    return sorted(projected, key=lambda limb: limb.start[2] + limb.end[2])


def _points_at_viewer(limb: Limb) -> bool:
    x, y, z = add(limb.end, limb.start, -1)
    return x * x + y * y < 0.5 * z * z


def _balls(limb: Limb, number: int = 8) -> list[Limb]:
    """The limb as balls in a row: seen from its end, no point of its axis stands for all that a pixel sees of it."""
    row = []
    for share in (step / (number - 1) for step in range(number)):
        spot = between(limb.start, limb.end, share)
        radius = limb.start_radius + share * (limb.end_radius - limb.start_radius)
        row.append(limb._replace(start=spot, end=spot, start_radius=radius, end_radius=radius))
    return row


def paint(pixels: np.ndarray, limbs: Sequence[Limb], light: Vector, ambient: float, blotches: np.ndarray) -> None:
    """Paints limbs (in pixels, the farthest first) over `pixels`, float32 (height, width, 3) with values 0..1.

    `light` is the unit vector towards the lamp in picture coordinates (y down), `ambient` the light (0..1) in its
    shade, `blotches` bool (height, width): where a blotched limb has its second color.
    """
    rows, columns = _window(limbs, pixels.shape)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    layer = _Layer.empty(rows, columns)
    for limb in limbs:
        _add_limb(layer, limb, blotches[rows, columns])
    part = pixels[rows, columns]
    part += layer.cover[..., None] * (layer.color * _shade(layer, light, ambient)[..., None] - part)


def _window(limbs: Sequence[Limb], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The rows and columns of the picture that the limbs can touch."""
    reach = [(p, max(limb.start_radius, limb.end_radius) + 1) for limb in limbs for p in (limb.start, limb.end)]
    spans = []
    for axis, size in ((1, shape[0]), (0, shape[1])):
        first = max(0, math.floor(min(p[axis] - radius for p, radius in reach)))
        spans.append(slice(first, min(size, math.ceil(max(p[axis] + radius for p, radius in reach)) + 1)))
    return spans[0], spans[1]


class _Layer(NamedTuple):
    """What is seen through each pixel of a window: float32 (height, width), colors and normals (height, width, 3)."""

    top: int
    left: int
    cover: np.ndarray
    depth: np.ndarray
    color: np.ndarray
    normal: np.ndarray

    @classmethod
    def empty(cls, rows: slice, columns: slice) -> "_Layer":
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        depth, cover = np.full(shape, NOTHING, np.float32), np.zeros(shape, np.float32)
        color, normal = np.zeros((2, *shape, 3), np.float32)
        return cls(rows.start, columns.start, cover, depth, color, normal)


def _add_limb(layer: _Layer, limb: Limb, blotches: np.ndarray) -> None:
    corner = (-layer.left, -layer.top, 0)
    limb = limb._replace(start=add(limb.start, corner), end=add(limb.end, corner))
    rows, columns = _window([limb], layer.depth.shape)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] - np.float32(limb.start[0])
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(limb.start[1])
    run_x, run_y, run_z = (np.float32(limb.end[axis] - limb.start[axis]) for axis in range(3))
    along = np.clip((x * run_x + y * run_y) / max(run_x * run_x + run_y * run_y, np.float32(1e-3)), 0, 1)
    off_x, off_y = x - along * run_x, y - along * run_y
    radius = np.float32(limb.start_radius) + along * np.float32(limb.end_radius - limb.start_radius)
    distance_2 = off_x * off_x + off_y * off_y
    height = np.sqrt(np.maximum(radius * radius - distance_2, 0))
    near = np.float32(limb.start[2]) + along * run_z + height
    depth, cover = layer.depth[rows, columns], layer.cover[rows, columns]
    edge = np.clip(radius - np.sqrt(distance_2) + np.float32(0.5), 0, 1) * (near >= depth)
    weight = np.where(cover == 0, edge > 0, edge)[..., None]
    color = layer.color[rows, columns]
    color += weight * (_limb_color(limb, along, blotches[rows, columns]) - color)
    normal = layer.normal[rows, columns]
    normal += weight * (np.stack((off_x, off_y, height), -1) / radius[..., None] - normal)
    np.copyto(depth, near, where=(edge > np.float32(0.5)) | ((edge > 0) & (depth == NOTHING)))
    np.maximum(cover, edge, out=cover)


def _limb_color(limb: Limb, along: np.ndarray, blotches: np.ndarray) -> np.ndarray:
    color = np.asarray(limb.color, np.float32)
    if limb.second_color is None:
        return color
    second = blotches
    if limb.num_stripes and limb.start != limb.end:
        second = (along * np.float32(limb.num_stripes)).astype(np.int32) & 1 == 1
    return np.where(second[..., None], np.asarray(limb.second_color, np.float32), color)


def _shade(layer: _Layer, light: Vector, ambient: float) -> np.ndarray:
    """The light (0..1) that each pixel sends back: smooth over the joints, darker in folds and behind nearer limbs."""
    inside = (layer.cover > 0).astype(np.float32)
    normal = _spread(_spread(layer.normal * inside[..., None], 2), 2)
    x, y, z = normal[..., 0], normal[..., 1], normal[..., 2]
    lit = x * np.float32(light[0]) + y * np.float32(light[1]) + z * np.float32(light[2])
    lit /= np.maximum(np.sqrt(x * x + y * y + z * z), np.float32(1e-6))
    share = np.maximum(_spread(inside, 4), np.float32(1e-6))
    sunk = _spread(layer.depth * inside, 4) / share - layer.depth
    shade = np.float32(ambient) + np.float32(1 - ambient) * np.maximum(lit, 0)
    return shade * (1 - np.clip((sunk - np.float32(1.5)) * np.float32(0.08), 0, np.float32(0.55)))


def _spread(values: np.ndarray, reach: int) -> np.ndarray:
    """Each value replaced by the sum over the square of 2 * `reach` + 1 pixels a side about it."""
    for axis in (0, 1):
        margins = [(reach, reach) if k == axis else (0, 0) for k in range(values.ndim)]
        padded, size = np.pad(values, margins), values.shape[axis]
        parts = [
            padded[first : first + size] if axis == 0 else padded[:, first : first + size]
            for first in range(2 * reach + 1)
        ]
        values = parts[0].copy()
        for part in parts[1:]:
            values += part
    return values
