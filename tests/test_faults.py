"""The fault campaign in its short form; benchmarks/faults.py runs the long one."""

import signal
from pathlib import Path

import pytest

from benchmarks.faultlib import bombs, crowd, forged, images, kills, models, names, soak, storage, supply
from benchmarks.faultlib.counts import Counts
from hh_fast.data.headers import read_header

pytestmark = pytest.mark.slow


def all_survived(counts: Counts, at_least: int) -> None:
    assert counts.lost == []
    assert counts.tried >= at_least


def test_interrupted_trainings_end_as_undisturbed_ones(tmp_path: Path) -> None:
    for counts in kills.kills(tmp_path, 1, numbers=(signal.SIGKILL, signal.SIGTERM), first_seed=1).values():
        all_survived(counts, 1)


def test_flipped_bytes_are_noticed_or_without_effect(tmp_path: Path) -> None:
    all_survived(storage.flipped_bytes(tmp_path, 60), 120)


def test_a_file_size_limit_is_one_line(tmp_path: Path) -> None:
    all_survived(storage.size_limit(tmp_path, (400,)), 2)


def test_mutants_of_images_are_named_or_read_alike_by_training_and_predict(tmp_path: Path) -> None:
    counts = images.hostile_images(tmp_path, 300)
    all_survived(counts, 300)
    assert counts.notes["read, with the same pixels"] > 30
    assert counts.notes["named as bad"] > 100


def test_bombs_are_refused_by_their_headers() -> None:
    for name, data in bombs.bombs().items():
        fault = read_header(data, max_image_pixels=images.LIMIT).fault
        if name.startswith("refused"):
            assert fault is not None and "\n" not in fault, name


def test_forged_models_are_refused_and_run_no_code(tmp_path: Path) -> None:
    all_survived(forged.forged_models(tmp_path / "forged"), 20)


def test_odd_names_are_named_on_one_line(tmp_path: Path) -> None:
    all_survived(names.odd_names(tmp_path), 3)


def test_very_many_empty_files_give_a_short_message(tmp_path: Path) -> None:
    all_survived(names.many_empty(tmp_path, 3000), 2)


def test_a_filler_that_is_killed_is_followed_by_another(tmp_path: Path) -> None:
    all_survived(crowd.one_cache(tmp_path, 2, kill_filler=True), 3)


def test_memory_and_open_files_do_not_grow(tmp_path: Path) -> None:
    all_survived(soak.soak(tmp_path, 40, settled_after=15, max_growth=0.05), 3)


def test_locks_have_hashes_and_name_no_place() -> None:
    all_survived(supply.locks(), 4)


def test_a_lock_without_a_hash_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("# a comment\na==1 \\\n    --hash=sha256:" + "0" * 64 + "\nb==2\nc @ https://a.example/c.whl\n")
    assert supply.unlocked(path) == ["b==2", "c @ https://a.example/c.whl"]


def test_a_cut_model_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(300))
    all_survived(models.hostile_models(tmp_path / "cut", path, 3, 3), 6)
