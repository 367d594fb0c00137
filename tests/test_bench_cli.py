import sys

import pytest

from hh_fast.bench.results import read_results
from hh_fast.cli import bench

pytestmark = pytest.mark.slow

SMALL = ("--image_size=94,94", "--batch_size=4", "--validation_batch_size=4", "--quick", "--epochs=1", "--budget_s=1")


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
    assert results.failures == []
    assert (len(results.input), len(results.training), len(results.step_bounds)) == (5, 3, 2)
    assert all(len(outcome.repeats) == 1 for outcome in (*results.input, *results.training, *results.step_bounds))
    assert {outcome.repeats[0].images for outcome in results.training} == {(results.plan.num_train,)}
    assert results.fairness.num_exact == results.plan.num_input
    # Four of input, two speedups of an epoch and two of all, and the shares of bounds: two of ours, one of stock tf.data.
    assert len(results.ratios) >= 4 + 4 + 3
    assert results.images.fingerprint


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
        (("--write_flags=a.flags",), "bench: `write_flags` must be given together with --sweep. Received: a.flags\n"),
        (("words",), "bench: this command takes flags only. Received: words; see --help\n"),
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
        f"bench: `output_dir` must be new, empty or a results folder of hh_fast. Received: {tmp_path}, which holds thesis.txt: give"
        " another folder, or move these elsewhere\n"
    )


def test_help_lists_its_flags_with_its_own_number_of_epochs(capsys):
    assert bench.main(["--help"]) == 0
    text = capsys.readouterr().out
    (epochs,) = text.split("  --epochs: ")[1:]
    assert "(default: '2')" in epochs.split("  --")[0]
    for flag in ("--sweep", "--write_flags", "--compare", "--quick", "--dataset", "--batch_size"):
        assert flag in text


def test_it_takes_the_gpu_flagfile():
    from hh_fast.cli import command
    from hh_fast.config import BenchConfig, DataConfig, TrainConfig

    made, free = command.parse((BenchConfig, DataConfig, TrainConfig), ["--flagfile=gpu.flags", "--quick"])
    assert free == []
    assert made[2].device == "gpu"
    assert made[0].quick


def test_importing_the_command_loads_nothing_heavy():
    import subprocess

    code = (
        "import sys, hh_fast.cli.bench; print([m for m in ('tensorflow', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
