"""Hostile model files: cut, flipped and forged, opened in child processes as bin/predict opens them."""

import json
import os
import random
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.faultlib.counts import Counts
from benchmarks.faultlib.runner import PACKAGE

PATIENCE_S = 60


def broken_copies(whole: bytes, cuts: int, flips: int, *, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """The file cut at `cuts` places from end to end, and `flips` copies with one to eight changed bytes.

    Every second change is in the part of the file that is structure rather than weights, as far as one can tell: where
    bytes near are zero.
    """
    for i in range(cuts):
        place = len(whole) * i // cuts
        yield f"cut-{place}", whole[:place]
    draw = random.Random(seed)
    structure = [i for i in range(4, len(whole) - 4) if whole[i - 2 : i + 3].count(0) >= 3]
    for i in range(flips):
        out = bytearray(whole)
        places = [
            draw.choice(structure) if i % 2 else draw.randrange(len(whole)) for _ in range(draw.choice((1, 1, 2, 8)))
        ]
        for place in places:
            out[place] = draw.choice((out[place] ^ 1 << draw.randrange(8), 0xFF, draw.randrange(256)))
        yield f"flip-{seed}-{i}-at-{places[0]}", bytes(out)


def judge(paths: Sequence[str]) -> None:
    """The child: opens each file and scores one image; a JSON line each."""
    import numpy as np

    from hh_fast.errors import HHFastError
    from hh_fast.predict.opening import load_classifier

    for path in paths:
        print(json.dumps({"begin": path}), flush=True)
        answer, detail = "used", ""
        try:
            classifier = load_classifier(path, num_threads=1)
            classifier.score(np.zeros((1, *classifier.image_size, 3), np.uint8))
        except HHFastError as e:
            answer, detail = ("refused", str(e)) if "\n" not in str(e) else ("lines", str(e))
        except OSError as e:
            answer, detail = "refused", str(e)
        except Exception as e:
            answer, detail = "traceback", f"{type(e).__name__}: {e}"[:200]
        print(json.dumps({"path": path, "answer": answer, "detail": detail}), flush=True)


def _child(paths: Sequence[str]) -> tuple[list[dict[str, str]], str | None]:
    code = "import sys; from benchmarks.faultlib.models import judge; judge(sys.stdin.read().split(chr(0)))"
    environment = os.environ | {
        "PYTHONPATH": f"{PACKAGE}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    with subprocess.Popen(
        ["nice", "-n", "10", sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
        bufsize=1,
    ) as child:
        stdin, stdout = child.stdin, child.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the child has no pipes")
        stdin.write("\0".join(paths))
        stdin.close()
        answers: list[dict[str, str]] = []
        while True:
            if not select.select([stdout], [], [], PATIENCE_S)[0]:
                child.kill()
                return answers, "hung"
            line = stdout.readline()
            if not line:
                code_ = child.wait()
                return answers, None if code_ == 0 else f"ended with {code_}"
            answer = json.loads(line)
            if "path" in answer:
                answers.append(answer)


def judge_models(paths: Sequence[str], counts: Counts) -> None:
    """Each path counts once: survived if it was refused in one line or used; lost by a traceback, a crash or a hang."""
    left = list(paths)
    while left:
        answers, failure = _child(left)
        for answer in answers:
            counts.check(answer["answer"] in ("used", "refused"), f"{Path(answer['path']).name}: {answer['detail']}")
            counts.note(answer["answer"])
        left = left[len(answers) :]
        if failure is not None and left:
            counts.check(False, f"{Path(left[0]).name}: the process {failure}")
            counts.note(failure)
            left = left[1:]


def hostile_models(work: Path, model: Path, cuts: int, flips: int, *, seed: int = 0) -> Counts:
    """Broken copies of one model file."""
    counts = Counts(f"broken {model.suffix}")
    work.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, data in broken_copies(model.read_bytes(), cuts, flips, seed=seed):
        path = work / f"{name}{model.suffix}"
        path.write_bytes(data)
        paths.append(str(path))
    judge_models(paths, counts)
    return counts
