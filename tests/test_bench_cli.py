import sys

import pytest
from small_results import small_results

from benchmarks.harness import read_results, values
from benchmarks.race import __main__ as bench
from benchmarks.race.config import BenchConfig
from hh_fast.errors import UsageError

pytestmark = pytest.mark.slow

SMALL = ("--image_size=94,94", "--batch_size=4", "--validation_batch_size=4", "--quick", "--epochs=1")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """One whole bench on a few tiny images, which every test here reads."""
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("bench")
    random = np.random.default_rng(0)
    for split in ("train", "validation"):
        for name in ("horses", "humans"):
            (root / split / name).mkdir(parents=True)
            for i in range(4):
                pixels = random.integers(0, 256, (94, 94, 3), np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    arguments = [
        f"--train_dir={root / 'train'}",
        f"--validation_dir={root / 'validation'}",
        f"--cache_dir={root / 'cache'}",
        f"--output_dir={root / 'out'}",
        *SMALL,
    ]
    return root, arguments, bench.main(arguments)


def test_it_leaves_results_report_and_chart(measured):
    root, _, code = measured
    assert code == 0
    assert sorted(path.name for path in (root / "out").iterdir()) == [
        ".hh_fast.json",
        "chart.png",
        "chart.svg",
        "results.json",
        "results.md",
    ]


def test_nothing_failed_and_every_raw_repeat_is_there(measured):
    results = read_results(measured[0] / "out" / "results.json")
    assert results["failures"] == {}
    kinds = [row["kind"] for row in results["rows"]]
    assert [kinds.count(kind) for kind in ("input", "training", "bound")] == [5, 3, 2]
    trained = [row for row in results["rows"] if row["kind"] == "training"]
    assert {tuple(row["images"]) for row in trained} == {(results["data"]["num_train"],)} == {(8,)}
    assert len(values(results["rows"], "hh_fast, memory", "steady_images_per_s")) == 1
    assert results["data"]["fingerprint"]
    assert results["command"].startswith("bin/bench")


def test_the_work_folder_is_gone(measured):
    assert [path.name for path in (measured[0] / "cache").iterdir() if path.name.startswith("bench-")] == []


def test_results_are_not_overwritten_unasked(measured, capsys):
    root, arguments, _ = measured
    assert bench.main(arguments) == 1
    assert capsys.readouterr().err == (
        f"bench: `output_dir` holds results already; add --overwrite to replace them. Received: {root / 'out'}\n"
    )


def test_two_results_are_compared(measured, capsys):
    path = str(measured[0] / "out" / "results.json")
    assert bench.main(["--compare", path, path]) == 0
    assert capsys.readouterr().out.startswith("None of ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("--compare", "a.json"),
            "bench: `compare` must be given two results.json, the older first. Received: 1 arguments\n",
        ),
        (
            ("--horizontal_flip",),
            "bench: `augment` and its ranges must be left out of a bench: its arms say which of them augment. Received: horizontal_flip\n",
        ),
        (
            ("--steps_per_epoch=3",),
            "bench: `steps_per_epoch` must be left out of a bench: an epoch is all images, once. Received: 3\n",
        ),
        (
            ("--strategy=mirrored",),
            "bench: `strategy` must be none in a bench: it measures one device. Received: mirrored\n",
        ),
        (
            ("--shard_data",),
            "bench: `shard_data` must be left out of a bench: it measures one machine. Received: True\n",
        ),
        (("--repeats=0",), "bench: `repeats` must be at least 1. Received: 0\n"),
        (("--write_flags=a.flags",), "bench: `write_flags` must be given with --sweep. Received: a.flags\n"),
        (("--quick", "--full"), "bench: `full` must be left out with --quick. Received: True\n"),
        (("words",), "bench: a bench takes flags only; see --help. Received: words\n"),
    ],
)
def test_what_cannot_be_measured_is_one_line(arguments, text, capsys, tmp_path):
    assert bench.main([*arguments, f"--output_dir={tmp_path / 'out'}"]) == 1
    assert capsys.readouterr().err.endswith(text)
    assert not (tmp_path / "out").exists()


def test_a_missing_comparison_file_is_one_line(capsys, tmp_path):
    path = tmp_path / "absent.json"
    assert bench.main(["--compare", str(path), str(path)]) == 2
    assert capsys.readouterr().err == f"bench: No such file or directory: {path}; check the path\n"


def test_a_folder_of_other_things_is_not_written_to(capsys, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert bench.main([f"--output_dir={tmp_path}", "--overwrite"]) == 1
    assert capsys.readouterr().err == (
        f"bench: `output_dir` must be new, empty or a results folder of hh_fast. Received: {tmp_path}, which contains thesis.txt: give"
        " another folder, or move these elsewhere\n"
    )


def test_help_lists_its_flags(capsys):
    assert bench.main(["--help"]) == 0
    text = capsys.readouterr().out
    for flag in ("--sweep", "--write_flags", "--compare", "--[no]quick", "--[no]full", "--dataset", "--batch_size"):
        assert flag in text


@pytest.mark.parametrize(
    # flags, images, epochs, repeats
    ("flags", "plan"),
    [
        ({"quick": True}, (256, 2, 1)),
        ({}, (384, 2, 3)),
        ({"full": True}, (None, 5, 3)),
        ({"full": True, "epochs": 15, "repeats": 1}, (None, 15, 1)),
    ],
)
def test_the_plans_are_fixed(flags, plan):
    assert BenchConfig(**flags).plan()[1:] == plan


def test_a_backbones_race_has_the_recipes_epochs_on_all_images():
    assert BenchConfig().plan(backbone=True)[1:] == (None, 15, 3)
    assert BenchConfig(quick=True).plan(backbone=True)[1:] == (256, 3, 1)


def test_results_are_written_again_only_over_ours(tmp_path):
    folder = tmp_path / "out"
    bench.write_all(small_results(), folder)
    config = BenchConfig(output_dir=str(folder))
    with pytest.raises(UsageError, match="holds results already; add --overwrite"):
        bench.prepare_output(config, overwrite=False)
    (folder / "notes.txt").write_text("mine")
    assert bench.prepare_output(config, overwrite=True) == folder
    bench.write_all(small_results(), folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_it_takes_the_gpu_flagfile():
    from hh_fast.cli import command
    from hh_fast.config import DataConfig, TrainConfig

    made, free = command.parse((BenchConfig, DataConfig, TrainConfig), ["--flagfile=gpu.flags", "--quick"])
    assert free == []
    assert made[2].device == "gpu"
    assert made[0].quick


def test_importing_the_command_loads_nothing_heavy():
    import subprocess

    code = "import sys, benchmarks.race.__main__; print([m for m in ('tensorflow', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
