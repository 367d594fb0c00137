"""Where two artifacts disagree, the worst first: as text, as JSON and as a picture."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from hh_fast.errors import DataError
from hh_fast.evaluation.metrics import Agreement, compare_scores, largest_disagreements
from hh_fast.predict.classifier import Classifier
from hh_fast.predict.files import Found
from hh_fast.predict.stream import predict

NUM_SHOWN = 16


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """One image: the classes and scores that the two models give it."""

    path: str
    classes: tuple[str, str]
    scores: tuple[list[float], list[float]]

    def verdicts(self) -> list[str]:
        """`humans 0.983`, of each model."""
        return [f"{name} {max(scores):.3f}" for name, scores in zip(self.classes, self.scores, strict=True)]


@dataclasses.dataclass(frozen=True)
class Comparison(Agreement):
    """How two artifacts compare on some images.

    `worst` has the images whose class differs first, then those whose scores do, 16 at most. `unreadable` says of each
    file that could not be read why.
    """

    models: tuple[str, str]
    worst: list[Disagreement]
    unreadable: list[str]

    def lines(self) -> list[str]:
        return [
            f"{' and '.join(self.models)} name the same class on {round(self.agreement * self.num_images)} of"
            f" {self.num_images} images ({self.agreement:.4f}); scores differ by {self.largest_difference:.6f} at most and"
            f" {self.mean_difference:.6f} on average. The largest differences:",
            *(f"{image.path}: {' | '.join(image.verdicts())}" for image in self.worst),
        ]


def compare(
    one: Classifier, other: Classifier, found: Iterable[Found], read: Callable[[str], np.ndarray], *, batch_size: int
) -> Comparison:
    """Asks both about each file, the same pixels for both. Paths and scores are kept, images are not.

    Raises:
        DataError: they differ in classes or image size, or no file can be read.
    """
    for name in ("class_names", "image_size"):
        mine, others = getattr(one, name), getattr(other, name)
        if mine != others:
            raise DataError(
                f"{one.path} and {other.path} differ in {name}, {mine} and {others}: compare models of one kind"
            )
    both = dataclasses.replace(
        one, score=lambda images: np.concatenate([one.score(images), other.score(images)], axis=1)
    )
    predictions = list(predict(both, found, read, batch_size=batch_size))
    unreadable = [item.fault for item in predictions if item.fault is not None]
    readable = [(item.path, item.scores) for item in predictions if item.scores is not None]
    if not readable:
        raise DataError(f"no image to compare on: {unreadable[0] if unreadable else 'no file matches'}")
    scores, others_scores = np.split(np.stack([row for _, row in readable]), 2, axis=1)
    worst = []
    for i in largest_disagreements(scores, others_scores, NUM_SHOWN):
        classes = one.class_names[scores[i].argmax()], one.class_names[others_scores[i].argmax()]
        worst.append(Disagreement(readable[i][0], classes, (scores[i].tolist(), others_scores[i].tolist())))
    figures = dataclasses.asdict(compare_scores(scores, others_scores))
    return Comparison(**figures, models=(one.path, other.path), worst=worst, unreadable=unreadable)


def draw(comparison: Comparison, read: Callable[[str], np.ndarray], path: Path) -> None:
    """The images of `comparison.worst` as a PNG, each with what the two say of it; a class that differs in red.

    Raises:
        OSError: the file cannot be written.
    """
    from hh_fast.evaluation.plots import draw_images, shortened

    worst = comparison.worst
    upper, lower = ("/".join(Path(model).parts[-2:]) for model in comparison.models)
    draw_images(
        [read(image.path) for image in worst],
        ["\n".join([shortened(Path(image.path).name), *image.verdicts()]) for image in worst],
        [image.classes[0] != image.classes[1] for image in worst],
        path,
        heading=f"Upper: {upper} | Lower: {lower}\nsame class on {comparison.agreement:.2%} of"
        f" {comparison.num_images} images",
    )
