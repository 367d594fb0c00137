"""Hostile images: decoded in a child process, in which training, predict and Pillow must agree, and which must neither crash nor
hang.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.faultlib.counts import Counts
from benchmarks.faultlib.mutants import mutants
from benchmarks.faultlib.runner import PACKAGE

SIZE = (24, 32)
LIMIT = 100_000_000
PATIENCE_S = 120


def judge(paths: Sequence[str]) -> None:
    """The child: one JSON line a file. `fault` is None or why training refuses it; `same` whether predict does the same, and
    sees the pixels of a JPEG that Pillow sees.
    """
    import numpy as np
    from PIL import Image, ImageOps

    from hh_fast.data.images import Images
    from hh_fast.data.pixels import ImageForm, read_pixels
    from hh_fast.data.reading import PixelFill
    from hh_fast.data.store import in_memory
    from hh_fast.errors import DataError
    from hh_fast.io.memory import peak_memory

    form = ImageForm(SIZE)
    images = Images(Path(), ("all",), tuple(paths), np.zeros(len(paths), np.int32), np.arange(len(paths)))
    fill = PixelFill(images, form, max_image_pixels=LIMIT)
    rows, faults = in_memory(len(paths), form.shape, np.uint8, fill)
    for i, (path, header) in enumerate(zip(paths, fill.read().headers, strict=True)):
        fault = faults.get(i)
        try:
            pixels = read_pixels(path, form, max_image_pixels=LIMIT)
        except DataError as e:
            same = str(e) == f"{path}: {fault}"
        else:
            same = fault is None and bool(np.array_equal(pixels, rows[i]))
            if header.format == "jpeg" and header.is_plain:
                with Image.open(path) as image:
                    shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
                same = same and bool(np.array_equal(read_pixels(path, None), shown))
        print(json.dumps({"path": path, "fault": fault, "same": same}), flush=True)
    print(json.dumps({"peak": peak_memory()}), flush=True)


def ask_child(paths: Sequence[str]) -> tuple[list[dict[str, object]], int, str | None]:
    """(answers, peak bytes, how the child failed or None)."""
    code = "import sys; from benchmarks.faultlib.images import judge; judge(sys.stdin.read().split(chr(0)))"
    environment = os.environ | {
        "PYTHONPATH": f"{PACKAGE}",
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


def judge_all(paths: Sequence[str], counts: Counts, *, max_peak: int, at_once: int = 500) -> None:
    """Each path counts once: survived if training and predict read the same pixels, or refuse it for the same reason."""
    for start in range(0, len(paths), at_once):
        part = paths[start : start + at_once]
        answers, peak, failure = ask_child(part)
        counts.notes["peak_memory_bytes"] = max(peak, counts.notes.get("peak_memory_bytes", 0))
        if failure is not None and len(part) > 1:
            judge_all(part, counts, max_peak=max_peak, at_once=max(1, len(part) // 4))
            continue
        if failure is not None:
            counts.check(False, f"{part[0]}: the process {failure}")
            continue
        counts.notes["peak_memory_bytes"] = max(peak, counts.notes.get("peak_memory_bytes", 0))
        if peak > max_peak:
            counts.lost.append(f"{part[0]} and {len(part) - 1} more: {peak:,} bytes of memory")
        for answer in answers:
            counts.check(answer["same"] is True, f"{answer['path']}: training and predict differ")
            counts.note("read, with the same pixels", answer["same"] is True and answer["fault"] is None)
            counts.note("named as bad", answer["fault"] is not None)


def hostile_images(work: Path, count: int, *, first_seed: int = 0, max_peak: int = 3_000_000_000) -> Counts:
    """`count` seeded mutants of valid images."""
    counts = Counts("hostile images")
    work.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, data in mutants(count, first_seed=first_seed):
        (work / name).write_bytes(data)
        paths.append(str(work / name))
    judge_all(paths, counts, max_peak=max_peak)
    return counts
