"""Which photos show the same picture: smaller, encoded anew, brighter or cropped. NumPy and OpenCV, no TensorFlow.

8 x 8 colours of each photo are the sieve, in blocks of a matrix product. Pictures of one layout pass it too, so a finer look
decides: one thumbnail is moved and scaled onto the other, first at 16 x 16 pixels, then at 32 x 32.
benchmarks/studies/copies.py measures what is found.
"""

import math

import cv2
import numpy as np

VERSION = 1  # of what counts as a copy
SIDE = 32  # of a thumbnail, in pixels
SMALL = 500  # pixels of the longer side
SIEVED = 0.88  # the least correlation of 8 x 8 colours
LOOKED_AT, SAME = 0.86, 0.92  # the least of 16 x 16 and of 32 x 32 pixels that lie on each other
SAME_SCENE = 0.92  # the least cosine similarity of features
PATCH = 8  # pixels: only what differs from their mean is compared, since a common background says little
MOST_SCALED, MOST_MOVED = 0.2, 0.12  # shares of a side
BLOCK = 1024  # images that meet all others at once
PAIRS = 256  # that are looked at together: they fit a core's cache


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """uint8 (any, any, 3) as the averages of SIDE x SIDE areas, uint8 (SIDE, SIDE, 3)."""
    # By a whole number: OpenCV takes six times as long for other averages. Of many pixels more are looked at.
    between = (3 if max(pixels.shape[:2]) <= SMALL else 8) * SIDE
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
    pairs = pairs[_look(medium, pairs, steps=1) > LOOKED_AT]
    scenes = np.empty((0, 2), np.int64)
    if features is not None:
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        scenes = _correlated(features / np.maximum(lengths, 1e-6), SAME_SCENE)
    keys = np.union1d(pairs @ [n, 1], scenes @ [n, 1])
    is_scene = np.isin(keys, scenes @ [n, 1])
    pairs = np.stack(np.divmod(keys, n), axis=1)
    order = np.argsort(-np.bincount(pairs.ravel(), minlength=n), kind="stable")
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    pairs = np.where((rank[pairs[:, 0]] < rank[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1])
    leaders = np.arange(n)
    while len(pairs):
        leads = ~np.isin(pairs[:, 0], pairs[:, 1])  # nothing that is left goes before these
        now = pairs[leads]
        alike = np.ones(len(now), np.float32)
        alike[~is_scene[leads]] = _look(thumbnails, now[~is_scene[leads]], steps=3)
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
    """Pairs of rows, int64 (k, 2), i < j, whose dot product exceeds `least`."""
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(unit), BLOCK):
        i, j = np.nonzero(unit[start : start + BLOCK] @ unit[start:].T > least)
        found.append(np.stack([i, j], axis=1)[i < j] + start)
    return np.concatenate(found)


def _look(pixels: np.ndarray, pairs: np.ndarray, steps: int) -> np.ndarray:
    """How each pair correlates once it lies on each other, float32 (k,)."""
    found = [np.empty(0, np.float32)]
    for start in range(0, len(pairs), PAIRS):
        a, b = pixels[pairs[start : start + PAIRS].T].astype(np.float32)
        found.append(_aligned_correlation(a, b, steps))
    return np.concatenate(found)


def _interpolation(positions: np.ndarray, side: int) -> np.ndarray:
    """Positions (k, side) in pixels as weights of the pixels, (k, side, side)."""
    pixels = np.arange(side, dtype=np.float32)
    return np.maximum(0, 1 - np.abs(np.clip(positions, 0, side - 1)[..., None] - pixels))


def _aligned_correlation(a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
    """How pixels float32 (k, side, side, 3) correlate, float32 (k,), once each of `b` is moved and scaled onto its one of `a`.

    By `steps` of Gauss-Newton, with the slopes of `a`, which stay as they are (inverse compositional alignment).
    """
    k, side = a.shape[:2]
    grid = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / side
    unit = _unit(a).reshape(a.shape)
    down, across = np.gradient(unit.mean(axis=3) * side, axis=(1, 2))
    slopes = np.stack([down * grid[:, None], down, across * grid, across], axis=1).reshape(k, 4, -1)
    normal = slopes @ slopes.transpose(0, 2, 1)
    normal += 1e-3 * np.eye(4, dtype=np.float32) * (normal.max(axis=(1, 2), keepdims=True) + 1)
    solve = np.linalg.solve(normal, slopes)
    scale, shift = np.ones((2, k, 1), np.float32), np.zeros((2, k, 1), np.float32)  # down and across
    for step in range(steps + 1):
        at = (scale * grid + shift) * side + (side - 1) / 2
        rows, columns = (_interpolation(positions, side) for positions in at)
        moved = columns[:, None] @ (rows @ b.reshape(k, side, -1)).reshape(b.shape)
        inside = (at > -0.5) & (at < side - 0.5)
        seen = (inside[0][:, :, None] & inside[1][:, None, :])[..., None]
        if step < steps:
            off = (_unit(moved).reshape(a.shape) - unit).mean(axis=3, keepdims=True) * seen
            change = (solve @ off.reshape(k, -1, 1))[..., 0].T[..., None]
            by, to = 1 + np.clip(change[::2], -0.1, 0.1), np.clip(change[1::2], -0.05, 0.05)
            shift = np.clip(shift - scale * to / by, -MOST_MOVED, MOST_MOVED)
            scale = np.clip(scale / by, 1 - MOST_SCALED, 1 + MOST_SCALED)
    return _detail_correlation(a, moved, seen)


def _detail_correlation(a: np.ndarray, b: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """How pixels correlate where they are `seen`, less the means of their patches."""
    k, side = a.shape[:2]
    blocks = (k, side // PATCH, PATCH, side // PATCH, PATCH, -1)
    a, b, seen = (x.reshape(blocks) for x in (a, b, seen))
    share = np.maximum(seen.mean(axis=(2, 4), keepdims=True), 1e-6)
    a, b = ((x - (x * seen).mean(axis=(2, 4), keepdims=True) / share) * seen for x in (a, b))
    both, of_a, of_b = (np.einsum("kyhxwc,kyhxwc->k", x, y) for x, y in ((a, b), (a, a), (b, b)))
    return both / np.sqrt(np.maximum(of_a * of_b, 1e-6))
