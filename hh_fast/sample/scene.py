"""The background of a figure: skies over hills, walls, studios. The same for both classes.

`size` is the side of the square picture in pixels; pictures are float32 (size, size, 3) with values 0..1.
"""

import random

import numpy as np
from PIL import Image

from hh_fast.sample.palette import Color, cloth, dulled, varied

# Frequencies in percent.
BACKDROPS = {"landscape": 50, "wall": 20, "studio": 22, "blotches": 8}
SKIES: tuple[Color, ...] = ((0.45, 0.65, 0.92), (0.75, 0.82, 0.9), (0.95, 0.75, 0.55), (0.6, 0.62, 0.66))
LANDS: tuple[Color, ...] = ((0.35, 0.5, 0.25), (0.5, 0.55, 0.3), (0.72, 0.62, 0.42), (0.4, 0.42, 0.36))


def noise(rng: random.Random, shape: tuple[int, int], cells: int) -> np.ndarray:
    """Smooth noise, float32 `shape` with values 0..1, with about `cells` bumps a side."""
    side = cells + 3
    grid = np.frombuffer(rng.randbytes(side * side), np.uint8).reshape(side, side)
    smooth = Image.fromarray(grid).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(smooth, np.float32) / np.float32(255)


def grain(rng: random.Random, size: int, strength: int, channels: int) -> np.ndarray:
    """Noise as a camera adds it: float32 (size, size, `channels`) about zero, at most `strength` / 255."""
    two = np.frombuffer(rng.randbytes(2 * size * size * channels), np.uint8)
    first, second = two.reshape(2, size, size, channels).astype(np.float32)
    return (first - second) * np.float32(strength / 255 / 255)


def backdrop(rng: random.Random, size: int) -> np.ndarray:
    """A picture without props in it."""
    kind = rng.choices(list(BACKDROPS), list(BACKDROPS.values()))[0]
    if kind == "landscape":
        return _landscape(rng, size)
    if kind == "wall":
        return _wall(rng, size)
    if kind == "studio":
        down = np.arange(size, dtype=np.float32)[:, None] / np.float32(size)
        return _mixed(np.broadcast_to(down, (size, size)), _paint(rng), _paint(rng))
    return _clouded(rng, size, _paint(rng), _paint(rng))


def _mixed(share: np.ndarray, first: Color, second: Color) -> np.ndarray:
    one, two = np.asarray(first, np.float32), np.asarray(second, np.float32)
    return one + share[..., None] * (two - one)


def _clouded(rng: random.Random, size: int, first: Color, second: Color) -> np.ndarray:
    share = np.zeros((size, size), np.float32)
    for cells, weight in ((3, 0.5), (9, 0.3), (30, 0.2)):
        share += np.float32(weight) * noise(rng, (size, size), cells)
    return _mixed(share, first, second)


def _paint(rng: random.Random) -> Color:
    """A color of the shared palette, duller and paler than in clothes: backgrounds are seldom bright."""
    red, green, blue = dulled(cloth(rng), rng.uniform(0.1, 0.8))
    pale = rng.uniform(0, 0.5)
    return (red + pale * (1 - red), green + pale * (1 - green), blue + pale * (1 - blue))


def _landscape(rng: random.Random, size: int) -> np.ndarray:
    pixels = _clouded(rng, size, varied(rng.choice(SKIES), rng), (0.95, 0.95, 0.95))
    rows = np.arange(size, dtype=np.float32)[:, None]
    horizon = rng.uniform(0.3, 0.75)
    for layer in range(rng.randrange(1, 4)):
        hills = noise(rng, (1, size), rng.choice((2, 4, 8))) - np.float32(0.5)
        edge = (np.float32(horizon) + hills * np.float32(rng.uniform(0, 0.25))) * np.float32(size)
        red, green, blue = color = varied(rng.choice(LANDS), rng)
        land = _clouded(rng, size, color, varied((0.7 * red, 0.7 * green, 0.7 * blue), rng))
        pixels += np.clip(rows - edge + np.float32(0.5), 0, 1)[..., None] * (land - pixels)
        horizon += rng.uniform(0.04, 0.16) * (layer + 1)
    return pixels


def _wall(rng: random.Random, size: int) -> np.ndarray:
    """A plain wall, or one of horizontal or vertical planks, above a floor."""
    color = _paint(rng)
    pixels = _clouded(rng, size, color, varied(color, rng))
    planks = rng.choice((0, 6, 9, 15, 25))
    if planks:
        width = size // planks + 1
        seams = np.flatnonzero(np.arange(size) % width < max(1, size // 150))
        if rng.random() < 0.5:
            pixels[seams] *= np.float32(0.75)
        else:
            pixels[:, seams] *= np.float32(0.75)
    floor, color = round(rng.uniform(0.6, 0.95) * size), _paint(rng)
    pixels[floor:] = _clouded(rng, size, color, varied(color, rng))[floor:]
    pixels[floor : floor + 1 + size // 100] *= np.float32(0.7)
    return pixels
