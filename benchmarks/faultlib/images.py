"""Hostile images: decoded in a child process, which must neither crash nor hang nor see other pixels than Keras."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from faultlib.mutants import mutants
from faultlib.runner import PACKAGE
from faultlib.tally import Tally
from hh_fast.io.memory import peak_memory

SIZE = (24, 32)
LIMIT = 100_000_000
PATIENCE_S = 120


def judge(paths: Sequence[str]) -> None:
    """The child: one JSON line a file. `ours` is None or why it is bad; `same` whether the pixels are Keras'."""
    import numpy as np
    import tensorflow as tf
    from keras.src.utils.image_dataset_utils import _load_image_tf

    from hh_fast.data.decode import decoded_batches, why_undecodable
    from hh_fast.data.scan import scan

    files = scan(paths, max_image_pixels=LIMIT)
    good = [i for i, file in enumerate(files) if file.fault is None]
    pixels = {}
    for numbers, images in decoded_batches([paths[i] for i in good], SIZE):
        pixels.update({good[n]: image for n, image in zip(numbers, images, strict=True)})
    for i, path in enumerate(paths):
        reason, same = files[i].fault, None
        theirs = None
        if reason is None:  # what the header refuses is not shown to Keras: it may take all memory
            try:
                theirs = np.rint(_load_image_tf(path, SIZE, 3, "bilinear", "channels_last"))
            except tf.errors.OpError:
                theirs = None
            if i in pixels:
                same = theirs is not None and bool(np.array_equal(pixels[i], theirs))
            else:
                reason = why_undecodable(path, SIZE)
        line = {"path": path, "ours": reason, "keras": theirs is not None, "same": same}
        print(json.dumps(line), flush=True)
    print(json.dumps({"peak": peak_memory()}), flush=True)


def ask_child(paths: Sequence[str]) -> tuple[list[dict[str, object]], int, str | None]:
    """(answers, peak bytes, how the child failed or None)."""
    code = "import sys; from faultlib.images import judge; judge(sys.stdin.read().split(chr(0)))"
    environment = os.environ | {
        "PYTHONPATH": f"{PACKAGE}:{PACKAGE / 'benchmarks'}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONUTF8": "1",
    }
    with subprocess.Popen(
        ["nice", "-n", "10", sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as child:
        stdin, stdout = child.stdin, child.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the child has no pipes")
        stdin.write("\0".join(paths).encode("utf-8", "surrogateescape"))
        stdin.close()
        answers: list[dict[str, object]] = []
        while True:
            if not select.select([stdout], [], [], PATIENCE_S)[0]:
                child.kill()
                return answers, 0, "hung"
            line = stdout.readline()
            if not line:
                return answers, 0, f"ended with {child.wait()}"
            answer = json.loads(line)
            if "peak" in answer:
                return answers, answer["peak"], None
            answers.append(answer)


def judge_all(paths: Sequence[str], tally: Tally, *, max_peak: int, at_once: int = 500) -> None:
    """Each path counts once: survived if it was named as bad, or read with Keras' pixels."""
    for start in range(0, len(paths), at_once):
        part = paths[start : start + at_once]
        answers, peak, failure = ask_child(part)
        tally.notes["peak_memory_bytes"] = max(peak, tally.notes.get("peak_memory_bytes", 0))
        if failure is not None and len(part) > 1:
            judge_all(part, tally, max_peak=max_peak, at_once=max(1, len(part) // 4))
            continue
        if failure is not None:
            tally.check(False, f"{part[0]}: the process {failure}")
            continue
        tally.notes["peak_memory_bytes"] = max(peak, tally.notes.get("peak_memory_bytes", 0))
        if peak > max_peak:
            tally.lost.append(f"{part[0]} and {len(part) - 1} more: {peak:,} bytes of memory")
        for answer in answers:
            tally.check(answer["same"] is not False, f"{answer['path']}: other pixels than Keras'")
            tally.note("read with Keras' pixels", answer["same"] is True)
            tally.note("named as bad", answer["ours"] is not None)
            tally.note("named as bad though Keras reads it", answer["ours"] is not None and answer["keras"] is True)


def hostile_images(work: Path, count: int, *, first_seed: int = 0, max_peak: int = 3_000_000_000) -> Tally:
    """`count` seeded mutants of valid images."""
    tally = Tally("hostile images")
    work.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, data in mutants(count, first_seed=first_seed):
        (work / name).write_bytes(data)
        paths.append(str(work / name))
    judge_all(paths, tally, max_peak=max_peak)
    return tally
