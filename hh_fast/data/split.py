"""Which images are held out for validation: drawn by class and seed, byte-identical images always together. No TensorFlow."""

import collections
from collections.abc import Hashable, Sequence

import numpy as np


def hold_out(
    labels: np.ndarray, contents: Sequence[Hashable], share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions to train on and to validate on, each in order: `share` of each class, at least one, drawn by `seed`.

    `contents` names each image's bytes (a hash): equal ones come to the same side, so a class with copies may give fewer
    than its share. A class of which all images are equal to each other comes whole to one side.
    """
    numbers: dict[Hashable, int] = {}
    groups = np.asarray([numbers.setdefault(content, len(numbers)) for content in contents])
    held, settled = np.zeros(len(numbers), bool), np.zeros(len(numbers), bool)
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(positions))), len(positions) - 1)
        drawn = groups[np.random.default_rng([seed, int(label)]).permutation(positions)]
        sizes = collections.Counter(drawn.tolist())
        left = count - sum(size for group, size in sizes.items() if held[group])
        for group in dict.fromkeys(drawn.tolist()):
            if not settled[group] and sizes[group] <= left:
                held[group] = True
                left -= sizes[group]
        free = [group for group in sizes if not settled[group]]
        if left == count and len(sizes) > 1 and free:  # all copies of one another come in groups larger than the share
            held[min(free, key=lambda group: sizes[group])] = True
        settled[list(sizes)] = True
    chosen = held[groups]
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def find_again(contents: Sequence[str], recorded: Sequence[str]) -> np.ndarray:
    """Positions, in order, of the images that a run recorded: each as often as it did, wherever it lies now."""
    wanted = collections.Counter(recorded)
    found = []
    for i, content in enumerate(contents):
        if wanted[content] > 0:
            wanted[content] -= 1
            found.append(i)
    return np.asarray(found, np.int64)
