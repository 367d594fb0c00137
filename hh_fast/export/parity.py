"""The parity check: every file classifies validation images beside the Keras model, and must stay close to it."""

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
# 130 ms an image on a desktop core, where the other formats take about 1.
SLOW_FORMATS = ("int16x8",)
SLOW_CHECK_IMAGES = 128
ADVICE = {
    "saved_model": "try another machine or TensorFlow version",
    "float32": "try another TensorFlow version",
    "float16": "use float32, or train with smaller weights",
    "dynamic": "use float16",
    "int8": "train longer or on more images, since scores that are nearly equal change places by rounding, or use dynamic",
    "int16x8": "train longer or on more images, or use float16",
}
# Of a score that comes out. Rounding may move each of two scores by one step.
SCORE_STEP = {"int8": 1 / 256}


@dataclasses.dataclass(frozen=True)
class WorstImage:
    """An image on which a file strays from the model: the score of the model's class, from the model and from the file."""

    path: str
    class_name: str
    model_score: float
    score: float


@dataclasses.dataclass(frozen=True)
class UnknownCheck:
    """Shares of pictures that are not taken for `unknown`, by the file and by the model: of the images of the check, `known`, and of
    `num_foreign` pictures that are none of the classes, `foreign`."""

    known: float
    model_known: float
    num_foreign: int
    foreign: float
    model_foreign: float

    def failures(self, num_images: int) -> list[str]:
        return [
            f"it takes {found:.1%} of {what} for a class, the model {expected:.1%}"
            for what, found, expected, number in (
                ("the images", self.known, self.model_known, num_images),
                ("pictures of other things", self.foreign, self.model_foreign, self.num_foreign),
            )
            # Two standard errors more, for few images tell the shares no better.
            if abs(found - expected) > MAX_UNKNOWN_DIFFERENCE + 2 * math.sqrt(MAX_UNKNOWN_DIFFERENCE / number)
        ]


@dataclasses.dataclass(frozen=True)
class ParityCheck:
    """How a file compares with the Keras model on `num_images` validation images.

    `agreement` is the share of images given the model's class, accuracies are shares too, 0 to 1; differences are of single
    scores. `num_ties` counts the images that get another class only because the model's scores of the two are closer than the
    file can tell them apart; the gates let them pass. `failures` says by how much the file misses its gates; it passes if there
    are none. `confusion` has (true class, class that the file gives, images) of each pair that occurs.
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
    """Positions in order, int64 (min(count, n),): drawn by `seed`, each class as often as the others, as far as it goes."""
    groups = [
        np.random.default_rng([seed, int(label)]).permutation(np.flatnonzero(labels == label))
        for label in np.unique(labels)
    ]
    # Every class' first, then every class' second, and so on: cut anywhere, it is balanced.
    rank = np.concatenate([np.arange(len(group)) for group in groups])
    drawn = np.concatenate(groups)[np.argsort(rank, kind="stable")]
    return np.sort(drawn[:count])


def positions_to_check(name: str, labels: np.ndarray, check_images: int | None) -> np.ndarray:
    """Which validation images the file of format `name` is checked on; see `ExportConfig.check_images`."""
    default = SLOW_CHECK_IMAGES if name in SLOW_FORMATS else len(labels)
    return balanced(labels, default if check_images is None else check_images, seed=0)


def score_all(
    classifiers: Mapping[str, Classifier],
    batches: Iterable[tuple[np.ndarray, Any]],
    positions: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Scores float32 (k, num_classes) of each classifier, by name, on its own k `positions` of an ordered stream of batches."""
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
    # Both are multiples of 1/n: they must not miss a limit by their rounding.
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
    foreign: tuple[np.ndarray, np.ndarray] | None = None,
) -> ParityCheck:
    """The check of one file. All arrays are of the same images: scores (n, num_classes), labels (n,), paths n.

    `rounding`: what the model's own precision takes from its scores. `foreign`: of a model whose last output is `unknown`, scores
    of pictures that are none of the classes, of the file and of the model.
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
    if foreign is not None:
        last = len(class_names) - 1
        known, model_known = (float((found != last).mean()) for found in (predicted, expected))
        shares = (float((found.argmax(axis=1) != last).mean()) for found in foreign)
        unknown = UnknownCheck(known, model_known, len(foreign[0]), *shares)
        failures += unknown.failures(len(labels))
    # Images given another class first, then by their largest difference of a score.
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
    """What failed, by how much, on which images, and what to try."""
    images = ", ".join(
        f"{image.path} ({image.class_name} {image.model_score:.3f} -> {image.score:.3f})" for image in check.worst[:3]
    )
    return f"{name}: {' and '.join(check.failures)}, most on {images}; {ADVICE[name]}"
