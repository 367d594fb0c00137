"""A horse about one unit tall at the withers, looking along +x, as limbs: gaits, coat, tack."""

import math
import random
from collections.abc import Callable

from hh_fast.sample import palette
from hh_fast.sample.palette import Color
from hh_fast.sample.solids import Limb, Vector, add, between, heading, on_ground, sine, turned

# Frequencies in percent.
POSES = {"stand": 24, "walk": 23, "trot": 16, "gallop": 15, "graze": 16, "jump": 2, "lie": 2, "rear": 2}
Placing = Callable[..., Vector]
HIND_PIVOT: Vector = (-0.42, 0.78, 0.0)


class _Pose:
    """Angles in radians. Legs in the order fore left, fore right, hind left, hind right."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self.pitch = rng.uniform(-0.04, 0.04)
        self.neck = rng.uniform(0.5, 1.05)  # above the horizontal
        self.face = rng.uniform(0.5, 1.1)  # below the horizontal
        self.neck_turn = rng.uniform(-0.35, 0.35)
        self.swing = [rng.uniform(-0.12, 0.12) for _ in range(4)]
        self.bend = [0.0, 0.0, 0.0, 0.0]
        self.tail = rng.uniform(-0.5, -0.05)
        getattr(self, f"_{name}")(rng)

    def _step(self, phases: tuple[float, ...], stride: float, lift: float, start: float) -> None:
        angles = [start + 2 * math.pi * phase for phase in phases]
        self.swing = [stride * sine(angle) for angle in angles]
        self.bend = [lift * max(0.0, sine(angle + math.pi / 2)) for angle in angles]

    def _stand(self, rng: random.Random) -> None:
        if rng.random() < 0.3:
            self.bend[rng.choice((2, 3))] = 0.4

    def _walk(self, rng: random.Random) -> None:
        self._step((0.0, 0.5, 0.25, 0.75), rng.uniform(0.25, 0.45), 0.6, rng.uniform(0, 6.28))
        self.neck = rng.uniform(0.3, 0.8)

    def _trot(self, rng: random.Random) -> None:
        self._step((0.0, 0.5, 0.5, 0.0), rng.uniform(0.4, 0.65), 1.0, rng.uniform(0, 6.28))

    def _gallop(self, rng: random.Random) -> None:
        self._step((0.0, 0.1, 0.5, 0.6), rng.uniform(0.7, 1.05), 1.2, rng.uniform(0, 6.28))
        self.neck, self.face = rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.7)
        self.tail = rng.uniform(-1.5, -0.8)
        self.pitch = rng.uniform(-0.12, 0.12)

    def _graze(self, rng: random.Random) -> None:
        self.neck, self.face = rng.uniform(-1.0, -0.65), rng.uniform(1.0, 1.5)
        self.swing[0] = rng.uniform(0, 0.35)

    def _rear(self, rng: random.Random) -> None:
        self.pitch = rng.uniform(0.4, 0.75)
        self.neck, self.face = rng.uniform(0.9, 1.3), rng.uniform(0.1, 0.6)
        self.swing = [rng.uniform(0.7, 1.3), rng.uniform(0.7, 1.3), rng.uniform(0.0, 0.3), rng.uniform(-0.2, 0.2)]
        self.bend = [rng.uniform(0.8, 1.8), rng.uniform(0.8, 1.8), 0.3, 0.3]

    def _jump(self, rng: random.Random) -> None:
        self.pitch = rng.uniform(0.15, 0.4)
        self.neck, self.face = rng.uniform(0.4, 0.7), rng.uniform(0.3, 0.7)
        self.swing = [rng.uniform(0.9, 1.2), rng.uniform(0.9, 1.2), rng.uniform(-1.1, -0.6), rng.uniform(-1.1, -0.6)]
        self.bend = [rng.uniform(1.2, 2.0), rng.uniform(1.2, 2.0), 0.1, 0.1]
        self.tail = rng.uniform(-1.2, -0.5)

    def _lie(self, rng: random.Random) -> None:
        self.swing = [1.25, rng.uniform(0.9, 1.3), 1.0, 1.1]
        self.bend = [2.7, 2.6, 1.5, 1.4]
        self.neck = rng.uniform(0.4, 1.1)
        self.tail = rng.uniform(-1.5, -1.2)


class _Look:
    """Coat, markings and tack."""

    def __init__(self, rng: random.Random) -> None:
        self.coat = palette.fur(rng)
        self.mane = self.coat if rng.random() < 0.25 else palette.fur(rng)
        self.blanket = palette.cloth(rng) if rng.random() < 0.4 else None
        self.stripe = palette.cloth(rng) if rng.random() < 0.35 else None
        self.num_stripes = rng.choice((0, 4, 6))
        self.wraps = palette.cloth(rng) if rng.random() < 0.3 else None
        self.socks = [rng.random() < 0.3 for _ in range(4)]
        self.pattern = palette.fur(rng) if rng.random() < 0.25 else None
        self.blaze = rng.random() < 0.4
        self.halter = palette.cloth(rng) if rng.random() < 0.4 else None
        self.build = rng.uniform(0.88, 1.12)
        self.leg = rng.uniform(0.85, 1.08)


def horse(rng: random.Random) -> list[Limb]:
    """The limbs of a horse with random pose and coat, standing on y = 0."""
    pose, look = _Pose(rng.choices(list(POSES), list(POSES.values()))[0], rng), _Look(rng)

    def placed(x: float, y: float, z: float = 0.0) -> Vector:
        return turned((x, y, z), pose.pitch, HIND_PIVOT)

    limbs = _body(placed, look)
    for number in range(4):
        limbs += _leg(number, placed, pose, look)
    limbs += _neck_and_head(placed(0.42, 0.88), pose, look, rng)
    limbs += _tail(placed(-0.6, 0.88), pose, look, rng)
    return on_ground(limbs)


def _body(placed: Placing, look: _Look) -> list[Limb]:
    build = look.build
    chest, ribs, loin, rump = placed(0.36, 0.79), placed(0.08, 0.76), placed(-0.25, 0.8), placed(-0.45, 0.82)
    limbs = [
        Limb(chest, ribs, 0.185 * build, 0.2 * build, look.coat, look.pattern),
        Limb(ribs, loin, 0.2 * build, 0.18 * build, look.coat, look.pattern),
        Limb(loin, rump, 0.18 * build, 0.178 * build, look.coat, look.pattern),
    ]
    if look.blanket is not None:
        thick = 0.012
        ends = 0.2 * build + thick, 0.18 * build + thick
        limbs.append(Limb(ribs, loin, *ends, look.blanket, look.stripe, look.num_stripes))
    return limbs


def _leg(number: int, placed: Placing, pose: _Pose, look: _Look) -> list[Limb]:
    side = 1 if number % 2 == 0 else -1
    swing, bend, size = pose.swing[number], pose.bend[number], look.leg
    sock = palette.GREYS[0] if look.socks[number] else (look.wraps or look.coat)
    z = side * 0.1
    if number < 2:
        top = placed(0.36, 0.74, z)
        knee = add(top, heading(swing), 0.33 * size)
        upper = [Limb(top, knee, 0.1 * look.build, 0.048, look.coat, look.pattern)]
        cannon = swing - bend
    else:
        top = placed(-0.43, 0.8, z)
        stifle = add(top, heading(0.35 + swing + 0.6 * bend), 0.2 * size)
        knee = add(stifle, heading(-0.45 + swing - 0.7 * bend), 0.27 * size)
        upper = [
            Limb(top, stifle, 0.15 * look.build, 0.09, look.coat, look.pattern),
            Limb(stifle, knee, 0.085, 0.045, look.coat, look.pattern),
        ]
        cannon = swing + 0.25 * bend
    fetlock = add(knee, heading(cannon), 0.26 * size)
    foot = cannon + (0.3 - 0.5 * bend if number < 2 else 0.3)
    pastern = add(fetlock, heading(foot), 0.065 * size)
    return [
        *upper,
        Limb(knee, fetlock, 0.042, 0.033, sock),
        Limb(fetlock, pastern, 0.037, 0.034, sock),
        Limb(pastern, add(pastern, heading(foot), 0.03), 0.038, 0.046, (0.13, 0.11, 0.1)),
    ]


def _neck_and_head(base: Vector, pose: _Pose, look: _Look, rng: random.Random) -> list[Limb]:
    build = look.build
    along = heading(pose.neck + math.pi / 2 + 0.6 * pose.pitch, pose.neck_turn)
    poll = add(base, along, 0.5)
    middle = between(base, poll, 0.5)
    down = heading(math.pi / 2 - pose.face + 0.4 * pose.pitch, pose.neck_turn)
    nose = add(poll, down, 0.31)
    cheek = add(between(poll, nose, 0.22), (0, -0.03, 0))
    limbs = [
        Limb(base, middle, 0.15 * build, 0.105 * build, look.coat, look.pattern),
        Limb(middle, poll, 0.105 * build, 0.072, look.coat, look.pattern),
        Limb(poll, nose, 0.072, 0.047, look.coat, look.pattern),
        Limb(cheek, between(cheek, nose, 0.4), 0.078, 0.05, look.coat, look.pattern),
        Limb(nose, add(nose, down, 0.015), 0.05, 0.046, _muzzle(look)),
    ]
    crest = heading(pose.neck + math.pi + 0.6 * pose.pitch)
    limbs += _marks(poll, nose, look) + _ears_and_eyes(poll, nose, along, crest, look)
    return limbs + _mane(base, poll, crest, look, rng)


def _marks(poll: Vector, nose: Vector, look: _Look) -> list[Limb]:
    """A blaze, and the two straps of a halter."""
    limbs = []
    if look.blaze:
        top, end = (add(between(poll, nose, share), (0.03, 0.035, 0.0)) for share in (0.2, 0.75))
        limbs.append(Limb(top, end, 0.03, 0.022, palette.GREYS[0]))
    if look.halter is not None:
        for share in (0.3, 0.72):
            strap, width = between(poll, nose, share), 0.07 - 0.012 * share
            limbs.append(Limb(add(strap, (0, -0.012, 0)), strap, width, width - 0.002, look.halter))
    return limbs


def _ears_and_eyes(poll: Vector, nose: Vector, along: Vector, crest: Vector, look: _Look) -> list[Limb]:
    limbs = []
    for side in (-1, 1):
        ear = add(add(poll, (0, 0, side * 0.035)), crest, 0.045)
        limbs.append(Limb(ear, add(add(ear, along, 0.07), crest, 0.06), 0.028, 0.008, look.coat, look.pattern))
        eye = add(between(poll, nose, 0.27), (0.01, 0.015, side * 0.066))
        limbs.append(Limb(eye, eye, 0.014, 0.014, (0.04, 0.03, 0.03)))
    return limbs


def _muzzle(look: _Look) -> Color:
    red, green, blue = look.coat
    return (0.6 * red + 0.04, 0.6 * green + 0.03, 0.6 * blue + 0.04)


def _mane(base: Vector, poll: Vector, crest: Vector, look: _Look, rng: random.Random) -> list[Limb]:
    side = rng.choice((-1, 1))
    locks = []
    for number in range(8):
        share = 0.1 + 0.125 * number
        thick = 0.125 - 0.06 * share
        root = add(between(base, poll, share), crest, thick)
        tip = add(root, (rng.uniform(-0.05, 0.01), -rng.uniform(0.07, 0.13), side * thick))
        locks.append(Limb(root, tip, 0.042, 0.024, look.mane))
    locks.append(Limb(add(poll, (0, 0.05, 0)), add(poll, (0.08, -0.03, 0.0)), 0.028, 0.014, look.mane))
    return locks


def _tail(root: Vector, pose: _Pose, look: _Look, rng: random.Random) -> list[Limb]:
    swing, sway = pose.tail - 0.3, rng.uniform(-0.25, 0.25)
    first = add(root, heading(swing - 0.5, sway), 0.14)
    second = add(first, heading(swing, sway), 0.2)
    third = add(second, heading(swing * 0.6 + rng.uniform(-0.2, 0.2), sway), 0.22)
    return [
        Limb(root, first, 0.035, 0.05, look.mane),
        Limb(first, second, 0.05, 0.052, look.mane),
        Limb(second, third, 0.052, 0.018, look.mane),
    ]
