"""Hostile files, opened in child processes: each must be read or refused in one line, and none may crash, hang or take much memory."""

import io
import json
import os
import random
import select
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks.faults.lab import ROOT, Lab, make_images, run_well, training_flags

IMAGE_SIZE = (24, 32)
MAX_PIXELS = 100_000_000
PATIENCE_S = 120
WIDTH, HEIGHT = 37, 29


def open_image(path: str) -> None:
    """Reads it; a JPEG must have the pixels that Pillow sees."""
    from hh_fast.data.pixels import ImageForm, read_pixels

    read_pixels(path, ImageForm(IMAGE_SIZE), max_image_pixels=MAX_PIXELS)
    if not Path(path).read_bytes().startswith(b"\xff\xd8"):
        return
    with Image.open(path) as image:
        if image.mode != "CMYK":
            shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
            np.testing.assert_array_equal(read_pixels(path, None), shown)


def open_model(path: str) -> None:
    from hh_fast.predict.opening import load_classifier

    classifier = load_classifier(path, num_threads=1)
    classifier.score(np.zeros((1, *classifier.image_size, 3), np.uint8))


OPENERS: dict[str, Callable[[str], None]] = {"image": open_image, "model": open_model}


def judge(kind: str, paths: Sequence[str]) -> None:
    """The child: opens each file, and prints a JSON line that says what came of it, and the process' peak memory."""
    from hh_fast.errors import HHFastError
    from hh_fast.io.memory import peak_memory

    for path in paths:
        answer, detail = "read", ""
        try:
            OPENERS[kind](path)
        except (HHFastError, OSError) as e:
            answer, detail = "refused" if "\n" not in str(e) else "refused on several lines", str(e)
        except Exception as e:
            answer, detail = "traceback", f"{type(e).__name__}: {e}"[:200]
        print(json.dumps({"answer": answer, "detail": detail, "peak": peak_memory()}), flush=True)


def _child(kind: str, paths: Sequence[str]) -> Iterator[dict[str, str | int]]:
    """The child's answers, the last of them how it failed, if it did."""
    module = "from benchmarks.faults.hostile import judge"
    code = f"import sys; {module}; judge({kind!r}, sys.stdin.read().split(chr(0)))"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUTF8": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as child:  # type: ignore[call-overload]
        child.stdin.write("\0".join(paths).encode("utf-8", "surrogateescape"))
        child.stdin.close()
        for _ in paths:
            if not select.select([child.stdout], [], [], PATIENCE_S)[0]:
                child.kill()
                yield {"answer": "hung", "detail": "", "peak": 0}
                return
            line = child.stdout.readline()
            if not line:
                yield {"answer": f"ended with {child.wait()}", "detail": "", "peak": 0}
                return
            yield json.loads(line)


def judge_all(lab: Lab, kind: str, paths: Sequence[Path], *, max_peak: int) -> None:
    """Each file counts once; a child that fails at one, or takes more than `max_peak` bytes, is followed by another."""
    left = list(paths)
    while left:
        for answer in _child(kind, [str(path) for path in left]):
            path = left.pop(0)
            small = int(answer["peak"]) <= max_peak
            good = answer["answer"] in ("read", "refused") and small
            lab.check(good, f"{path.name}: {answer['answer']}, {answer['peak']} bytes, {answer['detail']}")
            lab.note(str(answer["answer"]))
            if not small:
                break


def write_files(folder: Path, files: dict[str, bytes]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def encoded(kind: str, mode: str, *, side: int = 0, **options: object) -> bytes:
    """An image of noise, or a flat one with this side, which is a small file whatever the side."""
    noise = np.random.default_rng(len(kind) + len(mode)).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    image = Image.new(mode, (side, side)) if side else Image.fromarray(noise).convert(mode)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def valid_images() -> dict[str, bytes]:
    """One file of each kind, by file name."""
    frames = [Image.new("P", (WIDTH, HEIGHT), i) for i in range(3)]
    return {
        **{
            f"{mode.replace(';', '-')}.png": encoded("PNG", mode)
            for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
        },
        "baseline.jpg": encoded("JPEG", "RGB"),
        "progressive.jpeg": encoded("JPEG", "RGB", progressive=True),
        "grey.jpg": encoded("JPEG", "L"),
        "cmyk.jpg": encoded("JPEG", "CMYK"),
        "rgb.bmp": encoded("BMP", "RGB"),
        "palette.bmp": encoded("BMP", "P"),
        "animated.gif": encoded("GIF", "P", save_all=True, append_images=frames),
        "lossy.webp": encoded("WEBP", "RGB"),
        "lossless-webp.png": encoded("WEBP", "RGBA", lossless=True),
        "still.avif": encoded("AVIF", "RGB"),
    }


def _mutant(data: bytes, structure: Sequence[int], draw: random.Random) -> tuple[str, bytes]:
    """How it was broken, and the broken copy: most often near its start, or in `structure`."""
    out = bytearray(data)
    near = range(min(64, len(out) - 4)), range(len(out) - 4), structure or range(len(out) - 4)
    place = draw.choice(draw.choice(near))
    way = draw.choice(("cut", "flip", "flip", "flips", "number", "number", "zeros", "repeat", "text"))
    if way == "cut":
        del out[place:]
    elif way.startswith("flip"):
        for position in [place, *(draw.randrange(len(out)) for _ in range(20 if way == "flips" else 0))]:
            out[position] ^= 1 << draw.randrange(8)
    elif way == "number":  # a length or a side becomes an extreme
        number = draw.choice((0, 1, 0x7FFF, 0xFFFF, 20_000, 0x7FFFFFFF, 0xFFFFFFFF, draw.getrandbits(32)))
        size, order = draw.choice((2, 4)), draw.choice(("big", "little"))
        out[place : place + size] = (number & (256**size - 1)).to_bytes(size, order)
        if data.startswith(b"\x89PNG"):  # or the checksum alone would refuse it
            out[29:33] = struct.pack(">I", zlib.crc32(out[12:29]))
    elif way == "zeros":
        end = min(len(out), place + draw.choice((1, 16, 256)))
        out[place:end] = bytes(end - place)
    elif way == "repeat":
        out[place:place] = out[place // 2 : place][:2000] * 50
    else:
        out[place:] = b"lorem ipsum \n<html>{}" * draw.randrange(20)
    return way, bytes(out)


def mutants(folder: Path, valid: dict[str, bytes], count: int) -> list[Path]:
    """`count` seeded mutants of these files in turn, one in ten under another's suffix."""
    files, names = {}, sorted(valid)
    # Bytes near which most are zero are structure, not pixels or weights.
    structure = {
        name: [i for i in range(len(data) - 4) if data.count(0, i, i + 4) >= 3] for name, data in valid.items()
    }
    for seed in range(count):
        draw, name = random.Random(f"mutant {seed}"), names[seed % len(names)]
        way, data = _mutant(valid[name], structure[name], draw)
        suffix = Path(draw.choice(names) if draw.random() < 0.1 else name).suffix
        files[f"{seed:06d}-{way}-{Path(name).stem}{suffix}"] = data
    return write_files(folder, files)


def hostile_images(lab: Lab, count: int) -> None:
    judge_all(lab, "image", mutants(lab.work / "mutants", valid_images(), count), max_peak=3_000_000_000)


def hostile_models(lab: Lab, count: int) -> None:
    """Mutants of exported and saved models."""
    data, bundle, run_dir = make_images(lab.work / "data", 12), lab.work / "bundle", lab.work / "run"
    run_well("train", training_flags(data, lab.work, "--epochs=1"))
    formats = ["--formats=float32,int8", "--calibration_images=8"]
    run_well("export", [f"--run_dir={run_dir}", f"--export_dir={bundle}", *formats])
    files = bundle / "model_float32.tflite", bundle / "model_int8.tflite", run_dir / "model.keras"
    valid = {file.name: file.read_bytes() for file in files}
    judge_all(lab, "model", mutants(lab.work / "mutants", valid, count), max_peak=2_000_000_000)
