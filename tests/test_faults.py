"""The fault campaign in its short form; `python -m benchmarks.faults` runs the long one."""

import signal
from pathlib import Path

import pytest

from benchmarks.faults import endurance, features, hostile, kills, storage
from benchmarks.faults.lab import Ended, Lab

pytestmark = pytest.mark.slow


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "lab")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> kills.Whole:
    return kills.undisturbed(tmp_path_factory.mktemp("whole"))


def all_survived(lab: Lab, at_least: int) -> None:
    assert lab.lost == []
    assert lab.tried >= at_least


def test_an_interrupted_training_ends_as_an_undisturbed_one(lab: Lab, whole: kills.Whole) -> None:
    kills.killed_trainings(lab, whole, 1, numbers=(signal.SIGTERM,), first_seed=1)
    all_survived(lab, 1)


def test_damaged_caches_and_checkpoints_are_noticed(lab: Lab, whole: kills.Whole) -> None:
    kills.damaged_files(lab, whole, 1, num_files=3)
    all_survived(lab, 1)


def test_features_survive_a_kill_and_none_that_are_stale_are_used(lab: Lab) -> None:
    front = features.write_front(lab.work / "front.keras", 0)
    whole = kills.undisturbed(lab.work, (f"--model={front}",), per_class=100)
    features.killed_passes(lab, whole, 1)
    features.stale_features(lab, whole, front, 1)
    all_survived(lab, 4)


def test_a_file_size_limit_is_one_line(lab: Lab) -> None:
    storage.size_limit(lab, (400,))
    all_survived(lab, 2)


def test_other_peoples_files_stay(lab: Lab) -> None:
    storage.foreign_folders(lab, 1)
    all_survived(lab, 7)


def test_mutants_of_images_are_read_or_refused(lab: Lab) -> None:
    hostile.hostile_images(lab, 300)
    all_survived(lab, 300)
    assert lab.notes["read"] > 30
    assert lab.notes["refused"] > 100


def test_a_mutant_of_a_model_is_one_line(lab: Lab) -> None:
    valid = {"a.tflite": b"\x1c\0\0\0TFL3" + bytes(300)}
    hostile.judge_all(lab, "model", hostile.mutants(lab.work, valid, 6), max_peak=2_000_000_000)
    all_survived(lab, 6)


def test_a_filler_that_is_killed_is_followed_by_another(lab: Lab) -> None:
    kills.one_cache(lab, 2, kill_filler=True)
    all_survived(lab, 3)


def test_memory_and_open_files_do_not_grow(lab: Lab) -> None:
    endurance.soak(lab, 40, settled_after=15, max_growth=0.05)
    all_survived(lab, 3)


@pytest.mark.parametrize(
    ("ended", "is_one"),
    [
        (Ended(2, "", "Cache: disk\ntrain: no image: check the path\n"), True),
        (Ended(1, "", "train: no image\n"), False),
        (Ended(2, "", "train: a\nTraceback\ntrain: no image\n"), False),
        (Ended(2, "", "train: something else\n"), False),
        (Ended(2, "", ""), False),
    ],
)
def test_what_counts_as_an_error_of_one_line(ended: Ended, is_one: bool) -> None:
    assert ended.is_one_line_error("train", "no image") == is_one


def test_what_is_lost_is_counted_with_its_line(lab: Lab) -> None:
    lab.check(True, "fine")
    lab.check(False, "gone")
    assert {**lab.row("a"), "seconds": 0} == {
        "arm": "a",
        "repeat": 0,
        "tried": 2,
        "lost": 1,
        "what_was_lost": ["gone"],
        "notes": {},
        "seconds": 0,
    }
