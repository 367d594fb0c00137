"""Faults of the feature pass: kills in it, rows that are not what they were, and weights that changed."""

import random
import re
import shutil
import time
from pathlib import Path

from benchmarks.faults.kills import DAMAGES, Whole, damage, flags_of, is_filling
from benchmarks.faults.lab import Lab, finish, run, start

SIDE = 64
OTHER_ROWS = "rows of another network"


def write_front(path: Path, seed: int) -> Path:
    """A model to train by --model: a frozen network, and a head. It takes milliseconds an image, so that a pass lasts."""
    import keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    front = [layers.Rescaling(1 / 255), *(layers.Conv2D(48, 3, activation="relu") for _ in range(3))]
    head = [layers.GlobalAveragePooling2D(), layers.Dense(1, activation="sigmoid", name="head")]
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *front, *head])
    for layer in front:
        layer.trainable = False
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return path


def killed_passes(lab: Lab, whole: Whole, count: int) -> None:
    """SIGKILL at a random moment of the pass over the images: the next run goes on from there, and ends to the bit alike."""
    made = re.search(r"rows of features in ([\d.]+) s", whole.ended.err)
    pass_s = float(made[1]) if made else 0.0
    for seed in range(count):
        place = lab.work / f"killed-{seed}"
        place.mkdir()
        flags = flags_of(whole.data, place, whole.more)
        process = start("train", flags)
        while process.poll() is None and not is_filling(process):
            time.sleep(0.002)
        seconds = random.Random(seed + 1).uniform(0, pass_s)  # the first of them early
        time.sleep(seconds)
        process.kill()
        finish(process)
        within = bool(list((place / "cache" / "features").glob("*.partial")))
        lab.note("killed within the pass", within)
        ended = run("train", flags)
        lab.note("went on within the pass", "Resuming" in ended.err)
        reason = whole.differences(place) if ended.code == 0 else ended.last
        lab.check(reason is None, f"after {seconds:.2f} of {pass_s} s: {reason}")
        if reason is None:
            shutil.rmtree(place)


def stale_features(lab: Lab, whole: Whole, front: Path, num_damages: int = 4) -> None:
    """Kept rows that changed, or are another network's, are made again; and a network with other weights makes its own.

    `whole` trained the model in the file `front`, of `write_front(front, 0)`.
    """
    cache, kept = whole.place / "cache", lab.work / "kept"
    [rows] = (cache / "features").glob("*/rows")
    write_front(front, 1)
    ended = run("train", flags_of(whole.data, whole.place, whole.more))
    refused = ended.is_one_line_error("train", "holds a run with other settings", code=1)
    lab.check(refused, f"a run whose model changed: {ended.last}")
    shared = [*whole.more, f"--cache_dir={cache}"]
    ended = run("train", flags_of(whole.data, lab.work / "new-weights", shared))
    others = list(set((cache / "features").glob("*/rows")) - {rows})
    anew = len(others) == 1 and "rows of features in" in ended.err
    lab.check(ended.code == 0 and anew, f"after the weights changed: made anew {anew}, {ended.last}")
    write_front(front, 0)
    shutil.copytree(cache, kept)
    for i, how in enumerate([*DAMAGES, OTHER_ROWS][-num_damages:]):
        shutil.rmtree(cache)
        shutil.copytree(kept, cache)
        if how == OTHER_ROWS:
            shutil.copyfile(others[0], rows)
        else:
            damage(rows, how, random.Random(i))
        place = lab.work / f"stale-{i}"
        ended = run("train", flags_of(whole.data, place, shared))
        noticed = "is damaged: rebuilding it" in ended.err
        reason = whole.differences(place) if ended.code == 0 else ended.last
        lab.check(noticed and reason is None, f"{how}: noticed {noticed}, {reason}")
