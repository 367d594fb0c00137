import pytest
from small_results import small_results
from small_results import swept as entry

from benchmarks.race import sweep
from benchmarks.race.__main__ import write_flagfile
from hh_fast.cli import command
from hh_fast.config import DataConfig, TrainConfig


@pytest.mark.parametrize(
    ("flags", "has_gpu", "count", "precisions"),
    [
        ({}, False, 8, {"float32", "mixed_bfloat16"}),
        ({}, True, 12, {"float32", "mixed_bfloat16", "mixed_float16"}),
        ({"precision": "float32"}, True, 4, {"float32"}),
        ({"jit_compile": "true"}, False, 4, {"float32", "mixed_bfloat16"}),
    ],
)
def test_flags_narrow_what_is_tried(flags, has_gpu, count, precisions):
    steps = sweep.steps_to_try(TrainConfig(**flags), [64, 128, 64], has_gpu=has_gpu)
    assert len(steps) == count
    assert {step["precision"] for step in steps} == precisions


@pytest.mark.parametrize(
    ("entries", "batch_size", "cache"),
    [
        ([entry(100, batch_size=64), entry(120)], 128, "memory"),
        # Equally fast: the recipe's batch size, then the simpler cache.
        ([entry(100, batch_size=256), entry(98), entry(97, cache="disk")], 128, "memory"),
        ([entry(100, batch_size=256, cache="none"), entry(80)], 256, "none"),
    ],
)
def test_the_fastest_wins_and_ties_go_to_the_recipe(entries, batch_size, cache):
    winner = sweep.best(entries, batch_size=128)
    assert (winner["batch_size"], winner["cache"]) == (batch_size, cache)


def test_nothing_wins_where_all_failed():
    assert sweep.best([], batch_size=128) is None


def test_the_flagfile_is_one_that_train_takes(tmp_path):
    fastest = entry(100, precision="mixed_bfloat16", batch_size=256, cache="disk")
    results = small_results([fastest, entry(60)])
    path = tmp_path / "best.flags"
    told = write_flagfile(results, path, batch_size=128)
    assert told == f"Best settings (mixed_bfloat16, no XLA, batch 256, cache disk): {path}"
    made, _ = command.parse((DataConfig, TrainConfig), [f"--flagfile={path}"])
    assert made[0].cache == "disk"
    assert (made[1].precision, made[1].jit_compile, made[1].batch_size) == ("mixed_bfloat16", "false", 256)
    assert "#        100  mixed_bfloat16, no XLA, batch 256, cache disk\n" in path.read_text()


def test_no_flagfile_where_all_failed(tmp_path):
    results = small_results([], {"float32, no XLA, batch 64": "OOM"})
    assert (
        write_flagfile(results, tmp_path / "a", batch_size=128)
        == f"Nothing was written to {tmp_path / 'a'}: every setting failed."
    )
    assert not (tmp_path / "a").exists()
