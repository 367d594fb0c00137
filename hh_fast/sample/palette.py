"""Colors that both classes share, so that color alone does not tell a horse from a human. Values 0..1."""

import random

Color = tuple[float, float, float]  # red, green, blue

# From pale to dark; skin, hair, and the coats of horses are drawn from the same browns.
BROWNS: tuple[Color, ...] = (
    (0.93, 0.87, 0.80),
    (0.94, 0.78, 0.66),
    (0.86, 0.70, 0.50),
    (0.80, 0.58, 0.42),
    (0.64, 0.42, 0.26),
    (0.52, 0.30, 0.17),
    (0.40, 0.23, 0.14),
    (0.28, 0.17, 0.11),
    (0.16, 0.12, 0.10),
)
GREYS: tuple[Color, ...] = ((0.92, 0.92, 0.90), (0.68, 0.68, 0.68), (0.42, 0.42, 0.44), (0.14, 0.14, 0.16))
BRIGHTS: tuple[Color, ...] = (
    (0.80, 0.16, 0.16),
    (0.90, 0.52, 0.14),
    (0.90, 0.80, 0.24),
    (0.22, 0.56, 0.26),
    (0.14, 0.34, 0.20),
    (0.20, 0.42, 0.78),
    (0.12, 0.18, 0.42),
    (0.50, 0.26, 0.58),
    (0.86, 0.48, 0.62),
    (0.24, 0.62, 0.64),
)


def varied(color: Color, rng: random.Random, spread: float = 0.08) -> Color:
    """`color` with slightly varied brightness and channels."""
    light = rng.uniform(1 - 2 * spread, 1 + 2 * spread)
    red, green, blue = (min(1.0, max(0.02, c * light + rng.uniform(-spread, spread) / 2)) for c in color)
    return (red, green, blue)


def fur(rng: random.Random) -> Color:
    return varied(rng.choice(BROWNS + GREYS), rng)


def skin(rng: random.Random) -> Color:
    return varied(rng.choice(BROWNS[1:8]), rng, 0.05)


def cloth(rng: random.Random) -> Color:
    return varied(rng.choice(rng.choice((BROWNS, GREYS, BRIGHTS))), rng)


def dulled(color: Color, share: float) -> Color:
    """`color` desaturated: not at all (0) to completely (1)."""
    grey = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]
    red, green, blue = (c + share * (grey - c) for c in color)
    return (red, green, blue)
