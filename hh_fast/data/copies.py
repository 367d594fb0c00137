"""Which photos show the same picture: smaller, encoded anew, brighter or cropped. NumPy and OpenCV, no TensorFlow.

8 x 8 colours of each photo are the sieve, in blocks of a matrix product. Pictures of one layout pass it too, so a finer look
decides: one thumbnail is moved and scaled onto the other, first at 16 x 16 pixels, then at 32 x 32.
benchmarks/studies/copies.py measures what is found.
"""

import concurrent.futures
import math

import cv2
import numpy as np

from hh_fast.io.cores import num_cores

VERSION = 1  # of what counts as a copy
SIDE = 32  # of a thumbnail, in pixels
SMALL = 500  # pixels of the longer side
SIEVED = 0.88  # the least correlation of 8 x 8 colours
LOOKED_AT, SAME = 0.86, 0.9  # the least of 16 x 16 and of 32 x 32 pixels that lie on each other
SAME_SCENE = 0.92  # the least cosine similarity of features
FINDS_SCENES = ("efficientnet_lite0",)  # the networks whose features that was measured with
PATCH = 8  # pixels: only what differs from their mean is compared, since a common background says little
MOST_SCALED, MOST_MOVED = 0.2, 0.12  # shares of a side
BLOCK = 1024  # images that meet all others at once
MOST_ALIKE = 64  # that a photo is compared with, the most alike of those that pass the sieve
PAIRS = 256  # that are looked at together: they fit a core's cache


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """uint8 (any, any, 3) as the averages of SIDE x SIDE areas, uint8 (SIDE, SIDE, 3)."""
    # By a whole number: OpenCV takes six times as long for other averages. Of many pixels more are looked at.
    between = (4 if max(pixels.shape[:2]) <= SMALL else 8) * SIDE
    return cv2.resize(cv2.resize(pixels, (between, between)), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def find_copies(thumbnails: np.ndarray, features: np.ndarray | None = None) -> np.ndarray:
    """For each of n photos the position of the one that it resembles, int64 (n,): its own where it resembles none.

    A group is what resembles one picture of it, so no chains come about. The picture with the most that may be like it goes first.

    Args:
        thumbnails: uint8 (n, SIDE, SIDE, 3).
        features: float32 (n, k) of a pretrained network, if there are any: they add the same scene from a step aside.
    """
    n = len(thumbnails)
    medium = _halved(thumbnails)
    pairs = _correlated(_unit(_halved(medium)), SIEVED)
    scenes = np.empty((0, 2), np.int64)
    if features is not None:
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        scenes = _correlated(features / np.maximum(lengths, 1e-6), SAME_SCENE)
    keys = np.union1d(pairs @ [n, 1], scenes @ [n, 1])
    is_scene = np.isin(keys, scenes @ [n, 1])
    pairs = np.stack(np.divmod(keys, n), axis=1)
    rank = np.empty(n, np.int64)
    rank[np.argsort(-np.bincount(pairs.ravel(), minlength=n), kind="stable")] = np.arange(n)
    pairs = np.where((rank[pairs[:, 0]] < rank[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1])
    leaders = np.arange(n)
    with concurrent.futures.ThreadPoolExecutor(num_cores()) as pool:
        while len(pairs):
            leads = ~np.isin(pairs[:, 0], pairs[:, 1])  # nothing that is left goes before these
            now = pairs[leads]
            alike = np.ones(len(now), np.float32)
            looked_at = np.flatnonzero(~is_scene[leads])
            blocks = [now[looked_at[start : start + PAIRS]] for start in range(0, len(looked_at), PAIRS)]
            found = pool.map(lambda block: _alike(thumbnails, medium, *block.T), blocks)
            alike[looked_at] = np.concatenate([np.empty(0, np.float32), *found])
            for i in np.argsort(alike, kind="stable"):  # the most alike last, so that it counts
                if alike[i] > SAME:
                    leaders[now[i, 1]] = now[i, 0]
            left = ~leads & (leaders[pairs] == pairs).all(axis=1)
            pairs, is_scene = pairs[left], is_scene[left]
    return leaders


def _halved(pixels: np.ndarray) -> np.ndarray:
    """(n, side, side, 3) as the averages of 2 x 2, float32 (n, side / 2, side / 2, 3)."""
    total = np.zeros((len(pixels), pixels.shape[1] // 2, pixels.shape[2] // 2, 3), np.float32)
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        total += pixels[:, down::2, across::2]
    return total / 4


def _unit(values: np.ndarray) -> np.ndarray:
    """(n, ...) as (n, k), each row less its mean, of length 1, or of 0 where its values are equal."""
    values = values.reshape(len(values), math.prod(values.shape[1:]))
    values = values - values.mean(axis=1, keepdims=True)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)


def _correlated(unit: np.ndarray, least: float) -> np.ndarray:
    """Pairs of rows, int64 (k, 2), i < j, whose dot product exceeds `least`; `MOST_ALIKE` at most of each i."""
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(unit), BLOCK):
        products = unit[start : start + BLOCK] @ unit[start:].T
        alike = products > least
        many = np.flatnonzero(np.count_nonzero(alike, axis=1) > 2 * MOST_ALIKE)
        if len(many):
            most = np.argpartition(products[many], -MOST_ALIKE, axis=1)[:, -MOST_ALIKE:]
            alike[many] = False
            alike[many[:, None], most] = True
        i, j = np.nonzero(alike)
        found.append(np.stack([i, j], axis=1)[i < j] + start)
    return np.concatenate(found)


def _alike(thumbnails: np.ndarray, medium: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """How alike the photos `i` are to the photos `j`, ints (k,), once these lie on those: float32 (k,), 0 where that is settled early."""
    first, second = _channels(medium, i), _channels(medium, j)
    scale, shift = _placed(first, second, np.ones((2, len(i), 1), np.float32), np.zeros((2, len(i), 1), np.float32), 1)
    alike = _correlation(first, second, scale, shift)
    left = np.flatnonzero(alike > LOOKED_AT)
    alike[alike <= LOOKED_AT] = 0
    if len(left):
        first, second = _channels(thumbnails, i[left]), _channels(thumbnails, j[left])
        alike[left] = _correlation(first, second, *_placed(first, second, scale[:, left], shift[:, left], 1))
    return alike


def _channels(pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of (n, side, side, 3) as float32 (k, 3, side, side), values about 0."""
    return np.ascontiguousarray(pixels[rows].transpose(0, 3, 1, 2), np.float32) - 128


def _positions(scale: np.ndarray, shift: np.ndarray, side: int) -> np.ndarray:
    """Where the pixels of a picture lie in another, in pixels down and across, float32 (2, k, side)."""
    grid = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / side
    return (scale * grid + shift) * side + (side - 1) / 2


def _moved(pixels: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (k, c, side, side) taken from positions `at`, (2, k, side), and whether these lie inside, (k, 1, side, side)."""
    steps = np.arange(pixels.shape[-1], dtype=np.float32)
    down, across = np.maximum(0, 1 - np.abs(np.clip(at, 0, len(steps) - 1)[..., None] - steps))  # linear interpolation
    inside = (at > -0.5) & (at < len(steps) - 0.5)
    moved = down[:, None] @ pixels @ across[:, None].transpose(0, 1, 3, 2)
    return moved, inside[0][:, None, :, None] & inside[1][:, None, None, :]


def _placed(
    a: np.ndarray, b: np.ndarray, scale: np.ndarray, shift: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """`scale` and `shift` down and across, (2, k, 1), by which each of `b` lies on its one of `a`, both (k, 3, side, side).

    By steps of Gauss-Newton on grey values, with the slopes of `a`, which stay as they are (inverse compositional alignment).
    """
    a, b = (pixels.mean(axis=1, keepdims=True) for pixels in (a, b))
    k, side = len(a), a.shape[-1]
    grid = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / side
    unit = _unit(a)
    down, across = np.gradient(unit.reshape(k, side, side) * side, axis=(1, 2))
    slopes = np.stack([down * grid[:, None], down, across * grid, across], axis=1).reshape(k, 4, -1)
    normal = slopes @ slopes.transpose(0, 2, 1)
    normal += 1e-3 * np.eye(4, dtype=np.float32) * (normal.max(axis=(1, 2), keepdims=True) + 1)
    for _ in range(steps):
        moved, inside = _moved(b, _positions(scale, shift, side))
        off = (_unit(moved) - unit) * inside.reshape(k, -1)
        change = np.linalg.solve(normal, slopes @ off[..., None])[..., 0].T[..., None]
        by, to = 1 + np.clip(change[::2], -0.1, 0.1), np.clip(change[1::2], -0.05, 0.05)
        shift = np.clip(shift - scale * to / by, -MOST_MOVED, MOST_MOVED)
        scale = np.clip(scale / by, 1 - MOST_SCALED, 1 + MOST_SCALED)
    return scale, shift


def _correlation(a: np.ndarray, b: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """How `a` and `b`, (k, 3, side, side), correlate where both are, less the means of their patches, float32 (k,)."""
    side = a.shape[-1]
    b, inside = _moved(b, _positions(scale, shift, side))
    a, b, inside = (x.reshape(*x.shape[:2], -1) for x in (a * inside, b * inside, inside))
    patch = np.arange(side) // PATCH
    of_patch = (patch[:, None] * (side // PATCH) + patch).ravel()[:, None] == np.arange((side // PATCH) ** 2)
    sums_a, sums_b, count = (x @ of_patch.astype(np.float32) for x in (a, b, inside.astype(np.float32)))
    count = np.maximum(count, 1)

    def product(x: np.ndarray, y: np.ndarray, sums_x: np.ndarray, sums_y: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("kcp,kcp->k", x, y) - (sums_x * sums_y / count).sum(axis=(1, 2)))

    of_a, of_b = product(a, a, sums_a, sums_a), product(b, b, sums_b, sums_b)
    return product(a, b, sums_a, sums_b) / np.sqrt(np.maximum(of_a * of_b, 1e-3))
