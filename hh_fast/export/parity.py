"""The parity check: the scores of each file on validation images must be close to those of the Keras model."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hh_fast.config import ExportConfig
from hh_fast.evaluation.confusion import Confusion
from hh_fast.predict.classifier import Classifier

NUM_WORST = 5
MAX_UNKNOWN_DIFFERENCE = 0.02
MAX_DIFFERENCE = {"saved_model": 1e-4, "float32": 1e-4, "float16": 5e-3}
# 130 ms per image on a desktop core; the other formats take about 1 ms.
SLOW_FORMATS = ("int16x8",)
SLOW_CHECK_IMAGES = 128
ADVICE = {
    "saved_model": "try another machine or TensorFlow version",
    "float32": "try another TensorFlow version",
    "float16": "use float32, or train with smaller weights",
    "dynamic": "use float16",
    "int8": "train longer or on more images, as rounding swaps classes with nearly equal scores; or use dynamic",
    "int16x8": "train longer or on more images, or use float16",
}
# The step of an output score. Rounding may change each of two scores by one step.
SCORE_STEP = {"int8": 1 / 256}


@dataclasses.dataclass(frozen=True)
class WorstImage:
    """An image on which a file differs most: the score of the model's class, by the model and by the file."""

    path: str
    class_name: str
    model_score: float
    score: float


@dataclasses.dataclass(frozen=True)
class UnknownCheck:
    """Fractions of pictures taken for a class, not for `unknown`, by the file and by the model: of the checked images, `known`,
    and of `num_other` pictures that belong to no class, `other`."""

    known: float
    model_known: float
    num_other: int
    other: float
    model_other: float

    def failures(self, num_images: int) -> list[str]:
        return [
            f"it takes {found:.1%} of {what} for a class, the model {expected:.1%}"
            for what, found, expected, number in (
                ("the images", self.known, self.model_known, num_images),
                ("pictures of other things", self.other, self.model_other, self.num_other),
            )
            # Plus two standard errors, for small numbers of images.
            if abs(found - expected) > MAX_UNKNOWN_DIFFERENCE + 2 * math.sqrt(MAX_UNKNOWN_DIFFERENCE / number)
        ]


@dataclasses.dataclass(frozen=True)
class ParityCheck:
    """Comparison of a file with the Keras model on `num_images` validation images.

    `agreement` is the fraction of images with the model's class; it and the accuracies are 0 to 1; differences are of single
    scores. `num_ties` counts images that get another class because the model's two scores are closer than the file's step; the
    gates allow these. `failures` describes by how much the file misses its gates; it passes if empty. `confusion` has (true
    class, predicted class, images) for each pair that occurs.
    """

    num_images: int
    agreement: float
    largest_difference: float
    mean_difference: float
    accuracy: float
    model_accuracy: float
    num_ties: int
    confusion: list[list[int]]
    worst: list[WorstImage]
    failures: list[str]
    passed: bool
    unknown: UnknownCheck | None = None


def balanced(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Sorted positions, int64 (min(count, n),), drawn by `seed`, with equal numbers of each class as far as possible."""
    groups = [
        np.random.default_rng([seed, int(label)]).permutation(np.flatnonzero(labels == label))
        for label in np.unique(labels)
    ]
    # The first of every class, then the second of every class, and so on: any prefix is balanced.
    rank = np.concatenate([np.arange(len(group)) for group in groups])
    drawn = np.concatenate(groups)[np.argsort(rank, kind="stable")]
    return np.sort(drawn[:count])


def positions_to_check(name: str, labels: np.ndarray, check_images: int | None) -> np.ndarray:
    """Positions of the validation images on which format `name` is checked; see `ExportConfig.check_images`."""
    default = SLOW_CHECK_IMAGES if name in SLOW_FORMATS else len(labels)
    return balanced(labels, default if check_images is None else check_images, seed=0)


def score_all(
    classifiers: Mapping[str, Classifier],
    batches: Iterable[tuple[np.ndarray, Any]],
    positions: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Scores, float32 (k, num_classes), of each classifier by name, for its k `positions` in an ordered stream of batches."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in classifiers}
    start = 0
    for images, *_ in batches:
        for name, classifier in classifiers.items():
            wanted = positions[name]
            rows = wanted[(wanted >= start) & (wanted < start + len(images))] - start
            if len(rows):
                parts[name].append(classifier.score(images[rows]))
        start += len(images)
    return {name: np.concatenate(scores) for name, scores in parts.items()}


def _class_failures(config: ExportConfig, accuracy_drop: float, is_same: np.ndarray) -> list[str]:
    agreement = float(is_same.mean())
    found, (max_drop, min_agreement) = [], config.gates(len(is_same), int((~is_same).sum()))
    # Both are multiples of 1/n: rounding must not make them miss a limit.
    if not accuracy_drop <= max_drop + 1e-9:
        found.append(
            f"accuracy falls by {accuracy_drop:.4f}, more than --max_accuracy_drop={max_drop:.3g}"
            f" ({math.ceil(accuracy_drop * 100 - 1e-9) / 100:g} would let it pass)"
        )
    if not agreement >= min_agreement - 1e-9:
        found.append(
            f"it agrees on {agreement:.4f} of the images, less than --min_agreement={min_agreement:.3g}"
            f" ({math.floor(agreement * 100 + 1e-9) / 100:g} would let it pass)"
        )
    return found


def check_parity(
    name: str,
    scores: np.ndarray,
    reference: np.ndarray,
    labels: np.ndarray,
    paths: Sequence[str],
    class_names: Sequence[str],
    config: ExportConfig,
    *,
    rounding: float = 0,
    other: tuple[np.ndarray, np.ndarray] | None = None,
) -> ParityCheck:
    """The check of one file, from scores and reference (n, num_classes), labels (n,) and n paths of the same images.

    `rounding`: the error of the model's own precision, in its scores. `other`: for a model with the output `unknown`, the scores
    of pictures that belong to no class, by the file and by the model.
    """
    rows = np.arange(len(labels))
    predicted, expected = scores.argmax(axis=1), reference.argmax(axis=1)
    accuracy, model_accuracy = float((predicted == labels).mean()), float((expected == labels).mean())
    is_same = predicted == expected
    is_tie = ~is_same & (reference[rows, expected] - reference[rows, predicted] <= 2 * SCORE_STEP.get(name, 0))
    difference = np.abs(scores - reference)
    largest = float(difference.max())
    if np.isnan(largest):
        failures = ["scores are not numbers"]
    elif name in MAX_DIFFERENCE:
        limit = MAX_DIFFERENCE[name] + rounding
        failures = [] if largest <= limit else [f"scores differ by up to {largest:.2g}, more than {limit:g}"]
    else:
        drop = model_accuracy - float((np.where(is_tie, expected, predicted) == labels).mean())
        failures = _class_failures(config, drop, is_same | is_tie)
    unknown = None
    if other is not None:
        last = len(class_names) - 1
        known, model_known = (float((found != last).mean()) for found in (predicted, expected))
        shares = (float((found.argmax(axis=1) != last).mean()) for found in other)
        unknown = UnknownCheck(known, model_known, len(other[0]), *shares)
        failures += unknown.failures(len(labels))
    # Images with another class first, then by their largest score difference.
    by_size = np.lexsort((-np.nan_to_num(difference.max(axis=1), nan=np.inf), is_same | is_tie))
    worst = [
        WorstImage(paths[i], class_names[expected[i]], float(reference[i, expected[i]]), float(scores[i, expected[i]]))
        for i in by_size[:NUM_WORST]
    ]
    return ParityCheck(
        num_images=len(labels),
        agreement=float(is_same.mean()),
        largest_difference=largest,
        mean_difference=float(difference.mean()),
        accuracy=accuracy,
        model_accuracy=model_accuracy,
        num_ties=int(is_tie.sum()),
        confusion=Confusion(labels, predicted, class_names).pairs().tolist(),
        worst=worst,
        failures=failures,
        passed=not failures,
        unknown=unknown,
    )


def describe_failure(name: str, check: ParityCheck) -> str:
    """The failures of a check, the worst images, and advice."""
    images = ", ".join(
        f"{image.path} ({image.class_name} {image.model_score:.3f} -> {image.score:.3f})" for image in check.worst[:3]
    )
    return f"{name}: {' and '.join(check.failures)}, most on {images}; {ADVICE[name]}"
