"""What is behind a figure: skies, hills, walls, trees, fences, clutter. The same for both classes."""

import random

import numpy as np
from PIL import Image

from hh_fast.data.drawing import palette
from hh_fast.data.drawing.solids import Color, Limb, Vector

BACKDROPS = ("landscape", "landscape", "wall", "plain", "blotches")


def noise(rng: random.Random, shape: tuple[int, int], cells: int) -> np.ndarray:
    """Smooth noise, float32 `shape` with values 0..1, with about `cells` bumps a side."""
    side = cells + 3
    grid = np.frombuffer(rng.randbytes(side * side), np.uint8).reshape(side, side)
    smooth = Image.fromarray(grid).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(smooth, np.float32) / np.float32(255)


def _clouded(rng: random.Random, shape: tuple[int, int], first: Color, second: Color) -> np.ndarray:
    share = np.zeros(shape, np.float32)
    for cells, weight in ((3, 0.5), (9, 0.3), (30, 0.2)):
        share += np.float32(weight) * noise(rng, shape, cells)
    return _mixed(share, first, second)


def _mixed(share: np.ndarray, first: Color, second: Color) -> np.ndarray:
    one, two = np.asarray(first, np.float32), np.asarray(second, np.float32)
    return one + share[..., None] * (two - one)


def _any_color(rng: random.Random) -> Color:
    return palette.cloth(rng)


def backdrop(rng: random.Random, shape: tuple[int, int]) -> np.ndarray:
    """A picture without things in it: float32 (height, width, 3), values 0..1."""
    kind = rng.choice(BACKDROPS)
    if kind == "landscape":
        return _landscape(rng, shape)
    if kind == "wall":
        return _wall(rng, shape)
    if kind == "plain":
        ramp = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None] * np.ones(shape, np.float32)
        return _mixed(ramp, _any_color(rng), _any_color(rng))
    return _clouded(rng, shape, _any_color(rng), _any_color(rng))


def _landscape(rng: random.Random, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    sky = rng.choice(((0.45, 0.65, 0.92), (0.75, 0.82, 0.9), (0.95, 0.75, 0.55), (0.6, 0.62, 0.66)))
    pixels = _clouded(rng, shape, palette.varied(sky, rng), (0.95, 0.95, 0.95))
    rows = np.arange(height, dtype=np.float32)[:, None]
    horizon = rng.uniform(0.3, 0.75) * height
    for layer in range(rng.randrange(1, 4)):
        line = np.float32(horizon) + (noise(rng, (1, width), rng.choice((2, 4, 8)))[0] - np.float32(0.5)) * np.float32(
            rng.uniform(0, 0.25) * height
        )
        color = palette.varied(
            rng.choice(((0.35, 0.5, 0.25), (0.5, 0.55, 0.3), (0.72, 0.62, 0.42), (0.4, 0.42, 0.36))), rng
        )
        darker = palette.varied((0.7 * color[0], 0.7 * color[1], 0.7 * color[2]), rng)
        land = _clouded(rng, shape, color, darker)
        np.copyto(pixels, land, where=(rows > line)[..., None])
        horizon += rng.uniform(0.04, 0.16) * height * (layer + 1)
    return pixels


def _wall(rng: random.Random, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    pixels = _clouded(rng, shape, color := _any_color(rng), palette.varied(color, rng))
    pitch = rng.choice((0, 12, 20, 32, 50))
    if pitch:
        lines = np.arange(width if rng.random() < 0.5 else height) % pitch < 2
        seams = np.broadcast_to(lines[None, :] if lines.size == width and rng.random() < 0.5 else lines[:, None], shape)
        pixels[seams] *= np.float32(0.75)
    floor = round(rng.uniform(0.55, 0.95) * height)
    pixels[floor:] = _clouded(rng, shape, color := _any_color(rng), palette.varied(color, rng))[floor:]
    pixels[floor : floor + 3] *= np.float32(0.7)
    return pixels


def things(rng: random.Random, shape: tuple[int, int], most: int) -> list[list[Limb]]:
    """Up to `most` things to stand behind a figure, each as limbs in pixels."""
    makers = (_tree, _tree, _fence, _stones, _poles, _bush)
    return [rng.choice(makers)(rng, shape) for _ in range(rng.randrange(most + 1))]


def _far(rng: random.Random, shape: tuple[int, int]) -> tuple[float, float, float]:
    """Pixel x and y of a foot, and a depth behind every figure."""
    return rng.uniform(-0.05, 1.05) * shape[1], rng.uniform(0.45, 1.05) * shape[0], -1000.0


def _tree(rng: random.Random, shape: tuple[int, int]) -> list[Limb]:
    x, y, z = _far(rng, shape)
    tall = rng.uniform(0.2, 0.75) * shape[0]
    bark, leaf = palette.varied(rng.choice(palette.BROWNS[3:8]), rng), palette.varied((0.25, 0.42, 0.18), rng, 0.15)
    crown: Vector = (x + rng.uniform(-0.1, 0.1) * tall, y - tall, z)
    limbs = [Limb((x, y, z), crown, 0.06 * tall, 0.03 * tall, bark)]
    for _ in range(rng.randrange(2, 5)):
        twig = (crown[0] + rng.uniform(-0.35, 0.35) * tall, crown[1] + rng.uniform(-0.2, 0.25) * tall, z + 1)
        limbs.append(Limb(crown, twig, 0.03 * tall, 0.012 * tall, bark))
        if rng.random() < 0.75:
            limbs.append(
                Limb(twig, (twig[0] + rng.uniform(-0.1, 0.1) * tall, twig[1], z + 1), 0.17 * tall, 0.12 * tall, leaf)
            )
    return limbs


def _fence(rng: random.Random, shape: tuple[int, int]) -> list[Limb]:
    _, y, z = _far(rng, shape)
    tall, gap, color = rng.uniform(20, 70), rng.uniform(25, 80), palette.cloth(rng)
    slope, start = rng.uniform(-0.12, 0.12), rng.uniform(-80, 0)
    limbs = []
    for number in range(int(shape[1] / gap) + 4):
        x = start + number * gap
        foot = y + slope * x
        limbs.append(Limb((x, foot, z), (x, foot - tall, z), 0.06 * tall, 0.06 * tall, color))
        for share in (0.35, 0.8):
            ends = ((x, foot - share * tall, z), (x + gap, foot + slope * gap - share * tall, z))
            limbs.append(Limb(*ends, 0.045 * tall, 0.045 * tall, color))
    return limbs


def _stones(rng: random.Random, shape: tuple[int, int]) -> list[Limb]:
    limbs = []
    for _ in range(rng.randrange(1, 6)):
        x, y, z = _far(rng, shape)
        radius = rng.uniform(4, 26)
        end = (x + rng.uniform(-2, 2) * radius, y + rng.uniform(-0.4, 0.4) * radius, z)
        limbs.append(Limb((x, y, z), end, radius, radius * rng.uniform(0.6, 1), palette.cloth(rng)))
    return limbs


def _poles(rng: random.Random, shape: tuple[int, int]) -> list[Limb]:
    limbs = []
    for _ in range(rng.randrange(1, 4)):
        x, y, z = _far(rng, shape)
        length, angle, radius = rng.uniform(40, 200), rng.uniform(-1, 1), rng.uniform(2, 11)
        end = (x + angle * length * 0.6, y - length, z)
        limbs.append(Limb((x, y, z), end, radius, radius * rng.uniform(0.5, 1), palette.cloth(rng)))
    return limbs


def _bush(rng: random.Random, shape: tuple[int, int]) -> list[Limb]:
    x, y, z = _far(rng, shape)
    radius, color = (
        rng.uniform(8, 30),
        palette.varied(rng.choice(((0.3, 0.5, 0.2), (0.5, 0.5, 0.25), (0.45, 0.35, 0.2))), rng),
    )
    limbs = []
    for _ in range(rng.randrange(3, 8)):
        spot = (x + rng.uniform(-1.6, 1.6) * radius, y - rng.uniform(0, 1.2) * radius, z)
        limbs.append(Limb(spot, spot, radius * rng.uniform(0.5, 1), radius, palette.varied(color, rng)))
    return limbs


def grain(rng: random.Random, shape: tuple[int, int], strength: int, colored: bool) -> np.ndarray:
    """Noise as a camera adds it: float32 (height, width, 3 or 1), values 0..1 about zero, `strength` of 255 at most."""
    channels = 3 if colored else 1
    size = shape[0] * shape[1] * channels
    fair = np.frombuffer(rng.randbytes(2 * size), np.uint8).reshape(2, *shape, channels).astype(np.float32)
    return (fair[0] - fair[1]) * np.float32(strength / 255 / 255)
