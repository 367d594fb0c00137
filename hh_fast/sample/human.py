"""A person about one unit tall, looking along +x, as limbs: poses, clothes, hair."""

import math
import random

from hh_fast.sample import palette
from hh_fast.sample.palette import Color
from hh_fast.sample.solids import Limb, Vector, add, between, cosine, heading, on_ground, sine, turned

# Frequencies in percent.
POSES = {
    "stand": 17,
    "walk": 21,
    "run": 13,
    "wave": 12,
    "arms_up": 12,
    "hips": 10,
    "dance": 7,
    "kneel": 2,
    "sit": 3,
    "bend": 2,
    "squat": 1,
}


class _Pose:
    """Joint angles in radians; pairs are (left, right), swings go forward, spreads outward, bends fold the joint."""

    def __init__(self, name: str, rng: random.Random) -> None:
        def wobble(size: float) -> float:
            return rng.uniform(-size, size)

        self.lean = wobble(0.08)
        self.nod = wobble(0.25)
        self.seat = False
        self.thigh = [wobble(0.12), wobble(0.12)]
        self.thigh_spread = [rng.uniform(0.02, 0.2), rng.uniform(0.02, 0.2)]
        self.knee = [rng.uniform(0, 0.15), rng.uniform(0, 0.15)]
        self.arm = [wobble(0.3), wobble(0.3)]
        self.arm_spread = [rng.uniform(0.08, 0.4), rng.uniform(0.08, 0.4)]
        self.elbow = [rng.uniform(0.05, 0.5), rng.uniform(0.05, 0.5)]
        getattr(self, f"_{name}")(rng)

    def _stand(self, rng: random.Random) -> None:
        pass

    def _walk(self, rng: random.Random) -> None:
        stride, side = rng.uniform(0.3, 0.6), rng.choice((1, -1))
        self.thigh = [side * stride, -side * stride]
        self.knee = [0.1, 0.6] if side > 0 else [0.6, 0.1]
        self.arm = [-side * stride, side * stride]

    def _run(self, rng: random.Random) -> None:
        stride, side = rng.uniform(0.5, 0.85), rng.choice((1, -1))
        self.lean = rng.uniform(0.05, 0.25)
        self.thigh = [side * stride, -side * stride * 0.7]
        self.knee = [rng.uniform(0.5, 1.1), rng.uniform(0.5, 1.1)]
        self.arm = [-side * stride, side * stride]
        self.elbow = [rng.uniform(1.2, 1.8), rng.uniform(1.2, 1.8)]

    def _sit(self, rng: random.Random) -> None:
        self.seat = True
        self.lean = rng.uniform(-0.15, 0.2)
        self.thigh = [rng.uniform(1.3, 1.6), rng.uniform(1.3, 1.6)]
        self.knee = [rng.uniform(1.2, 1.7), rng.uniform(1.2, 1.7)]
        self.arm = [rng.uniform(0.1, 0.8), rng.uniform(0.1, 0.8)]

    def _squat(self, rng: random.Random) -> None:
        self.lean = rng.uniform(0.2, 0.6)
        self.thigh = [rng.uniform(1.2, 1.9), rng.uniform(1.2, 1.9)]
        self.knee = [rng.uniform(2.0, 2.5)] * 2
        self.arm = [rng.uniform(0.3, 1.3), rng.uniform(0.3, 1.3)]

    def _kneel(self, rng: random.Random) -> None:
        self.thigh = [1.4, rng.uniform(-0.2, 0.2)]
        self.knee = [1.5, 1.6]
        self.arm = [rng.uniform(0, 1.2), rng.uniform(-0.3, 0.6)]
        if rng.random() < 0.5:
            self.thigh.reverse()
            self.knee.reverse()

    def _wave(self, rng: random.Random) -> None:
        side = rng.randrange(2)
        self.arm_spread[side] = rng.uniform(1.6, 2.6)
        self.elbow[side] = rng.uniform(0.2, 1.2)

    def _arms_up(self, rng: random.Random) -> None:
        if rng.random() < 0.5:
            self.arm_spread = [rng.uniform(1.3, 2.9), rng.uniform(1.3, 2.9)]
        else:
            self.arm = [rng.uniform(2.0, 3.0), rng.uniform(2.0, 3.0)]
        self.elbow = [rng.uniform(0, 0.5), rng.uniform(0, 0.5)]

    def _dance(self, rng: random.Random) -> None:
        self.lean = rng.uniform(-0.3, 0.3)
        self.thigh = [rng.uniform(-0.5, 1.2), rng.uniform(-0.5, 0.5)]
        self.thigh_spread = [rng.uniform(0, 0.8), rng.uniform(0, 0.5)]
        self.knee = [rng.uniform(0, 1.5), rng.uniform(0, 0.6)]
        self.arm = [rng.uniform(-0.8, 2.8), rng.uniform(-0.8, 2.8)]
        self.arm_spread = [rng.uniform(0, 1.4), rng.uniform(0, 1.4)]
        self.elbow = [rng.uniform(0, 1.8), rng.uniform(0, 1.8)]

    def _bend(self, rng: random.Random) -> None:
        self.lean = rng.uniform(0.6, 1.3)
        self.nod = rng.uniform(-0.6, 0)
        self.arm = [rng.uniform(0.2, 1.2), rng.uniform(0.2, 1.2)]

    def _hips(self, rng: random.Random) -> None:
        self.arm = [-0.35, -0.35]
        self.arm_spread = [rng.uniform(0.6, 0.8)] * 2
        self.elbow = [1.5, 1.5]
        self.thigh_spread = [rng.uniform(0.1, 0.4)] * 2


class _Look:
    """Colors and garments."""

    def __init__(self, rng: random.Random) -> None:
        self.skin = palette.skin(rng)
        self.hair = palette.fur(rng)
        self.shirt = palette.cloth(rng)
        self.pattern = palette.cloth(rng) if rng.random() < 0.35 else None
        self.num_stripes = rng.choice((0, 4, 6, 8))
        self.legs = palette.cloth(rng)
        self.shoes = palette.cloth(rng)
        self.long_sleeves = rng.random() < 0.5
        self.lower = rng.choice(("trousers", "trousers", "trousers", "shorts", "skirt", "dress"))
        self.head = rng.choice(("short", "short", "long", "long", "cap", "bald", "bun"))
        self.headwear = palette.cloth(rng)
        self.width = rng.uniform(0.85, 1.25)
        self.child = rng.random() < 0.2


def human(rng: random.Random) -> list[Limb]:
    """The limbs of a person with random pose and clothes, standing on y = 0."""
    pose, look = _Pose(rng.choices(list(POSES), list(POSES.values()))[0], rng), _Look(rng)
    limbs = _legs(pose, look) + _upper_body(pose, look, rng)
    return on_ground(limbs)


def _legs(pose: _Pose, look: _Look) -> list[Limb]:
    width = look.width
    limbs = [Limb((-0.02, -0.1, 0), (-0.02, -0.2, 0), 0.07, 0.075, look.headwear)] if pose.seat else []
    thigh_color = look.shirt if look.lower == "dress" else look.legs
    shin_color = look.legs if look.lower == "trousers" else look.skin
    knees = []
    for side, sign in ((0, 1), (1, -1)):
        hip: Vector = (0, 0, sign * 0.052 * width)
        knee = add(hip, heading(pose.thigh[side], sign * pose.thigh_spread[side]), 0.245)
        swing = pose.thigh[side] - pose.knee[side]
        ankle = add(knee, heading(swing, sign * pose.thigh_spread[side] * 0.6), 0.235)
        toe = add(ankle, heading(swing + 1.45), 0.085)
        knees.append(knee)
        limbs += [
            Limb(hip, knee, 0.068 * width, 0.046 * width, thigh_color),
            Limb(knee, ankle, 0.046 * width, 0.031 * width, shin_color),
            Limb(add(ankle, heading(swing), 0.015), toe, 0.034, 0.026, look.shoes),
        ]
    if look.lower in ("skirt", "dress"):
        limbs += _skirt(knees, look)
    return limbs


def _skirt(knees: list[Vector], look: _Look) -> list[Limb]:
    """A fan of folds from the waist to a ring that both knees are in."""
    color = look.shirt if look.lower == "dress" else look.legs
    middle = between((0, 0, 0), between(knees[0], knees[1], 0.5), 0.95)
    across = 0.06 + 0.5 * abs(knees[0][0] - knees[1][0]), 0.075 + 0.5 * abs(knees[0][2] - knees[1][2])
    folds = []
    for number in range(14):
        angle = number * math.pi / 7
        out = (cosine(angle), 0.0, sine(angle))
        hem = add(middle, (across[0] * out[0], 0.0, across[1] * out[2]))
        folds.append(Limb(add((0, 0.06, 0), out, 0.035 * look.width), hem, 0.04 * look.width, 0.032, color))
    folds.append(Limb((0, 0.04, 0), middle, 0.07 * look.width, 0.075, color))
    return folds


def _upper_body(pose: _Pose, look: _Look, rng: random.Random) -> list[Limb]:
    width = look.width

    def placed(point: Vector) -> Vector:
        return turned(point, -pose.lean, (0, 0, 0))

    below = look.shirt if look.lower == "dress" else look.legs
    limbs = [
        Limb((0, 0, z), placed((0, 0.06, z)), 0.068 * width, 0.066 * width, below)
        for z in (-0.035 * width, 0.035 * width)
    ]
    hem = [placed((0, 0.062, z * 0.038 * width)) for z in (-1, 1)]
    limbs.append(Limb(hem[0], hem[1], 0.07 * width, 0.07 * width, look.shirt))
    for z in (-1, 0, 1):
        waist, chest = placed((0, 0.08, z * 0.036 * width)), placed((0, 0.255, z * 0.062 * width))
        limbs.append(Limb(waist, chest, 0.066 * width, 0.066 * width, look.shirt, look.pattern, look.num_stripes))
    for side, sign in ((0, 1), (1, -1)):
        limbs += _arm(side, sign, placed((0, 0.275, sign * 0.112 * width)), pose, look)
    return limbs + _head(placed((0.005, 0.31, 0)), pose, look, rng)


def _arm(side: int, sign: int, shoulder: Vector, pose: _Pose, look: _Look) -> list[Limb]:
    swing, spread = pose.arm[side] + 0.5 * pose.lean, sign * pose.arm_spread[side]
    elbow = add(shoulder, heading(swing, spread), 0.165)
    wrist = add(elbow, heading(swing + pose.elbow[side], spread * 0.8), 0.145)
    return [
        Limb(shoulder, elbow, 0.047 * look.width, 0.034, look.shirt, look.pattern, look.num_stripes),
        Limb(elbow, wrist, 0.034, 0.025, look.shirt if look.long_sleeves else look.skin),
        Limb(wrist, between(elbow, wrist, 1.3), 0.026, 0.021, look.skin),
    ]


def _head(neck: Vector, pose: _Pose, look: _Look, rng: random.Random) -> list[Limb]:
    size = 1.35 if look.child else 1.0
    tilt = -pose.lean * 0.6 - pose.nod
    turn = rng.uniform(-0.05, 0.05)

    def placed(x: float, y: float, z: float) -> Vector:
        return turned(add(neck, (size * x, size * y, size * (z + turn * x))), tilt, neck)

    skull = placed(0.01, 0.105, 0)
    limbs = [
        Limb(neck, placed(0.005, 0.07, 0), 0.036, 0.034, look.skin),
        Limb(skull, placed(0.022, 0.065, 0), 0.062 * size, 0.045 * size, look.skin),
        Limb(placed(0.068, 0.09, 0), placed(0.076, 0.08, 0), 0.01 * size, 0.012 * size, look.skin),
    ]
    eyes = [placed(0.062, 0.108, z) for z in (-0.024, 0.024)]
    limbs += [Limb(eye, eye, 0.009 * size, 0.009 * size, (0.05, 0.04, 0.04)) for eye in eyes]
    if look.head != "bald":
        color: Color = look.headwear if look.head == "cap" else look.hair
        limbs.append(Limb(placed(-0.006, 0.125, 0), placed(-0.022, 0.1, 0), 0.062 * size, 0.056 * size, color))
    if look.head == "long":
        end = add(placed(-0.045, 0.0, 0), (rng.uniform(-0.04, 0.02), -rng.uniform(0.02, 0.14), 0))
        limbs += [Limb(placed(-0.03, 0.1, z), add(end, (0, 0, z)), 0.05 * size, 0.03, look.hair) for z in (-0.02, 0.02)]
    if look.head == "bun":
        limbs.append(Limb(placed(-0.075, 0.14, 0), placed(-0.08, 0.14, 0), 0.03 * size, 0.03 * size, look.hair))
    if look.head == "cap":
        limbs.append(Limb(placed(0.05, 0.135, 0), placed(0.1, 0.13, 0), 0.022 * size, 0.016 * size, color))
    return limbs
