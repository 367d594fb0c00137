"""Objects behind a figure, as limbs in pixels: trees, fences, stones, posts, bushes. The same for both classes.

`size` is the side of the square picture in pixels.
"""

import math
import random

from hh_fast.sample.palette import BROWNS, Color, cloth, varied
from hh_fast.sample.solids import Limb, Vector

LEAVES: tuple[Color, ...] = ((0.3, 0.5, 0.2), (0.25, 0.42, 0.18), (0.5, 0.5, 0.25), (0.45, 0.35, 0.2))


def props(rng: random.Random, size: int, most: int) -> list[list[Limb]]:
    """Up to `most` props, each as its limbs."""
    makers = (_tree, _tree, _fence, _stones, _posts, _bush)
    return [rng.choice(makers)(rng, size) for _ in range(rng.randrange(most + 1))]


def _foot(rng: random.Random, size: int) -> Vector:
    """The position of an object: in the lower half, more often at the sides than behind the figure."""
    side = rng.choice((-1, 1)) * math.sqrt(rng.random())
    return ((0.5 + 0.55 * side) * size, rng.uniform(0.5, 1.05) * size, 0.0)


def _tree(rng: random.Random, size: int) -> list[Limb]:
    foot, tall = _foot(rng, size), rng.uniform(0.2, 0.75) * size
    bark, leaf = varied(rng.choice(BROWNS[3:8]), rng), varied(rng.choice(LEAVES), rng, 0.12)
    x, y = foot[0] + rng.uniform(-0.1, 0.1) * tall, foot[1] - tall
    limbs = [Limb(foot, (x, y, 0), 0.06 * tall, 0.03 * tall, bark)]
    for _ in range(rng.randrange(2, 5)):
        twig = (x + rng.uniform(-0.35, 0.35) * tall, y + rng.uniform(-0.2, 0.25) * tall, 1.0)
        limbs.append(Limb((x, y, 0), twig, 0.03 * tall, 0.012 * tall, bark))
        crown = (twig[0] + rng.uniform(-0.1, 0.1) * tall, twig[1], 1.0)
        limbs.append(Limb(twig, crown, 0.17 * tall, 0.12 * tall, leaf))
    return limbs


def _fence(rng: random.Random, size: int) -> list[Limb]:
    tall, gap, color = rng.uniform(0.07, 0.23) * size, rng.uniform(0.08, 0.26) * size, cloth(rng)
    start, y, slope = -rng.random() * gap, rng.uniform(0.5, 1.05) * size, rng.uniform(-0.12, 0.12)
    limbs = []
    for number in range(int(size / gap) + 2):
        x = start + number * gap
        foot, next_foot = y + slope * x, y + slope * (x + gap)
        limbs.append(Limb((x, foot, 0), (x, foot - tall, 0), 0.06 * tall, 0.06 * tall, color))
        for share in (0.35, 0.8):
            rail = (x, foot - share * tall, 0), (x + gap, next_foot - share * tall, 0)
            limbs.append(Limb(*rail, 0.045 * tall, 0.045 * tall, color))
    return limbs


def _stones(rng: random.Random, size: int) -> list[Limb]:
    limbs = []
    for _ in range(rng.randrange(1, 6)):
        (x, y, z), radius = _foot(rng, size), rng.uniform(0.013, 0.085) * size
        end = (x + rng.uniform(-2, 2) * radius, y + rng.uniform(-0.4, 0.4) * radius, z)
        limbs.append(Limb((x, y, z), end, radius, radius * rng.uniform(0.6, 1), cloth(rng)))
    return limbs


def _posts(rng: random.Random, size: int) -> list[Limb]:
    limbs = []
    for _ in range(rng.randrange(1, 4)):
        (x, y, z), length = _foot(rng, size), rng.uniform(0.13, 0.65) * size
        end, radius = (x + rng.uniform(-0.2, 0.2) * length, y - length, z), rng.uniform(0.007, 0.035) * size
        limbs.append(Limb((x, y, z), end, radius, radius * rng.uniform(0.5, 1), cloth(rng)))
    return limbs


def _bush(rng: random.Random, size: int) -> list[Limb]:
    (x, y, z), radius, color = _foot(rng, size), rng.uniform(0.027, 0.1) * size, varied(rng.choice(LEAVES), rng)
    limbs = []
    for _ in range(rng.randrange(3, 8)):
        spot = (x + rng.uniform(-1.6, 1.6) * radius, y - rng.uniform(0, 1.2) * radius, z)
        limbs.append(Limb(spot, spot, radius * rng.uniform(0.5, 1), radius, varied(color, rng)))
    return limbs
