"""Gates, samples and failures of the check."""

import numpy as np
import pytest

from hh_fast.config import ExportConfig
from hh_fast.export.parity import balanced, check_parity, describe_failure, positions_to_check, score_all
from hh_fast.predict.classifier import Classifier

CONFIG = ExportConfig(run_dir="run")
NAMES = ("horses", "humans")
REFERENCE = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]], np.float32)
LABELS = np.array([0, 1, 1, 0])
PATHS = ("a.png", "b.png", "c.png", "d.png")


def check_of(name: str, scores: np.ndarray, config: ExportConfig = CONFIG):
    return check_parity(name, scores, REFERENCE, LABELS, PATHS, NAMES, config)


def moved(by: float) -> np.ndarray:
    return REFERENCE + np.array([[by, -by], [0, 0], [0, 0], [0, 0]], np.float32)


# format, by how much a score is moved, failures
@pytest.mark.parametrize(
    ("name", "by", "failures"),
    [
        ("float32", 0.9e-4, []),
        ("float32", 2e-4, ["scores differ by up to 0.0002, more than 0.0001"]),
        ("saved_model", 2e-4, ["scores differ by up to 0.0002, more than 0.0001"]),
        ("float16", 4e-3, []),
        ("float16", 6e-3, ["scores differ by up to 0.006, more than 0.005"]),
        ("int8", 0.05, []),
    ],
)
def test_gates_on_scores(name: str, by: float, failures: list[str]) -> None:
    assert check_of(name, moved(by)).failures == failures


def test_gates_on_classes() -> None:
    scores = REFERENCE[:, ::-1].copy()
    scores[:3] = REFERENCE[:3]
    check = check_of("int8", scores, ExportConfig(run_dir="run", max_accuracy_drop=0.01, min_agreement=0.97))
    assert (check.accuracy, check.model_accuracy, check.agreement) == (0.75, 1.0, 0.75)
    assert check.failures == [
        "accuracy falls by 0.2500, more than --max_accuracy_drop=0.01 (0.25 would let it pass)",
        "it agrees on 0.7500 of the images, less than --min_agreement=0.97 (0.75 would let it pass)",
    ]
    assert sorted(check.confusion) == [[0, 0, 1], [0, 1, 1], [1, 1, 2]]
    loose = ExportConfig(run_dir="run", max_accuracy_drop=0.25, min_agreement=0.75)
    assert check_of("int8", scores, loose).passed


# by how much the model's two scores of an image differ, whether another class there counts
@pytest.mark.parametrize(("gap", "counts"), [(1.9 / 256, False), (2.1 / 256, True)])
def test_scores_that_int8_cannot_tell_apart_are_no_disagreement(gap: float, counts: bool) -> None:
    reference = REFERENCE.copy()
    reference[3] = [0.5 + gap / 2, 0.5 - gap / 2]
    scores = reference.copy()
    scores[3] = reference[3, ::-1]
    strict = ExportConfig(run_dir="run", max_accuracy_drop=0, min_agreement=1)
    check = check_parity("int8", scores, reference, LABELS, PATHS, NAMES, strict)
    assert (check.agreement, check.accuracy, check.num_ties) == (0.75, 0.75, 0 if counts else 1)
    assert check.passed is not counts
    assert not check_parity("dynamic", scores, reference, LABELS, PATHS, NAMES, strict).passed


def test_a_model_in_bfloat16_is_as_exact_as_that() -> None:
    assert check_of("float32", moved(0.05)).failures == ["scores differ by up to 0.05, more than 0.0001"]
    assert check_parity("float32", moved(0.05), REFERENCE, LABELS, PATHS, NAMES, CONFIG, rounding=0.125).passed


def test_scores_that_are_not_numbers_fail() -> None:
    assert not check_of("float32", np.full_like(REFERENCE, np.nan)).passed


def test_the_images_with_another_class_come_first() -> None:
    scores = REFERENCE.copy()
    scores[0] = [0.55, 0.45]  # moved far, same class
    scores[2] = [0.52, 0.48]  # moved less, other class
    worst = check_of("int8", scores).worst
    assert [image.path for image in worst] == ["c.png", "a.png", "b.png", "d.png"]
    assert (worst[0].class_name, round(worst[0].model_score, 3), round(worst[0].score, 3)) == ("humans", 0.6, 0.48)


def test_a_failure_names_amount_images_and_remedy() -> None:
    text = describe_failure("float32", check_of("float32", moved(0.01)))
    assert text == (
        "float32: scores differ by up to 0.01, more than 0.0001, most on a.png (horses 0.900 -> 0.910), b.png (humans"
        " 0.800 -> 0.800), c.png (humans 0.600 -> 0.600); try another TensorFlow version"
    )


def test_balanced_draws_each_class_alike() -> None:
    labels = np.array([0] * 50 + [1] * 8 + [2] * 20)
    drawn = balanced(labels, 18, seed=1)
    assert np.bincount(labels[drawn]).tolist() == [6, 6, 6]
    assert (np.diff(drawn) > 0).all()
    assert np.bincount(labels[balanced(labels, 40, seed=1)]).tolist() == [16, 8, 16]
    assert len(balanced(labels, 1000, seed=1)) == 78
    np.testing.assert_array_equal(drawn, balanced(labels, 18, seed=1))
    assert drawn.tolist() != balanced(labels, 18, seed=2).tolist()


def test_slow_formats_are_checked_on_fewer_images_unless_told() -> None:
    labels = np.arange(300) % 2
    assert [len(positions_to_check(name, labels, None)) for name in ("float32", "int8", "int16x8")] == [
        300,
        300,
        128,
    ]
    assert [len(positions_to_check(name, labels, 200)) for name in ("float32", "int16x8")] == [200, 200]


def test_each_file_is_asked_about_its_own_positions() -> None:
    images = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
    batches = [(images[:4], None), (images[4:8], None), (images[8:], None)]
    asked = Classifier("x", NAMES, (1, 1), lambda batch: batch.reshape(-1, 1).astype(np.float32))
    scores = score_all({"a": asked, "b": asked}, batches, {"a": np.arange(10), "b": np.array([1, 8, 9])})
    assert scores["a"][:, 0].tolist() == list(range(10))
    assert scores["b"][:, 0].tolist() == [1, 8, 9]
