"""Hostile files, opened in child processes: each must be read or refused in one line, and none may crash, hang or take much memory."""

import io
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks.faults.lab import ROOT, Lab, make_images, png, run, run_well, training_flags

IMAGE_SIZE = (24, 32)
MAX_PIXELS = 100_000_000
PATIENCE_S = 120
WIDTH, HEIGHT = 37, 29
PNG_START = b"\x89PNG\r\n\x1a\n"


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


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _encoded(kind: str, mode: str, *, side: int = 0, **options: object) -> bytes:
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
            f"{mode.replace(';', '-')}.png": _encoded("PNG", mode)
            for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
        },
        "baseline.jpg": _encoded("JPEG", "RGB"),
        "progressive.jpeg": _encoded("JPEG", "RGB", progressive=True),
        "grey.jpg": _encoded("JPEG", "L"),
        "cmyk.jpg": _encoded("JPEG", "CMYK"),
        "rgb.bmp": _encoded("BMP", "RGB"),
        "palette.bmp": _encoded("BMP", "P"),
        "animated.gif": _encoded("GIF", "P", save_all=True, append_images=frames),
        "lossy.webp": _encoded("WEBP", "RGB"),
        "lossless-webp.png": _encoded("WEBP", "RGBA", lossless=True),
        "still.avif": _encoded("AVIF", "RGB"),
    }


def _mutant(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """How it was broken, and the broken copy: most often near its start, where the structure is."""
    out = bytearray(data)
    place = draw.randrange(min(len(out) - 4, draw.choice((64, len(out)))))
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
        if data.startswith(PNG_START):  # or the checksum alone would refuse it
            out[29:33] = struct.pack(">I", zlib.crc32(out[12:29]))
    elif way == "zeros":
        end = min(len(out), place + draw.choice((1, 16, 256)))
        out[place:end] = bytes(end - place)
    elif way == "repeat":
        out[place:place] = out[place // 2 : place] * 50
    else:
        out[place:] = b"lorem ipsum \n<html>{}" * draw.randrange(20)
    return way, bytes(out)


def hostile_images(lab: Lab, count: int, *, first_seed: int = 0) -> None:
    """`count` seeded mutants of valid images of each kind, one in ten under another's suffix."""
    valid, files = sorted(valid_images().items()), {}
    for seed in range(first_seed, first_seed + count):
        draw = random.Random(f"mutant {seed}")
        name, data = valid[seed % len(valid)]
        way, data = _mutant(data, draw)
        stem, _, suffix = name.rpartition(".")
        suffix = draw.choice(("png", "jpg", "bmp", "gif", "webp")) if draw.random() < 0.1 else suffix
        files[f"{seed:06d}-{way}-{stem}.{suffix}"] = data
    judge_all(lab, "image", write_files(lab.work / "mutants", files), max_peak=3_000_000_000)


def _claiming(data: bytes, form: str, at: int, *sides: int) -> bytes:
    """The file with other sides in its header."""
    out = bytearray(data)
    out[at : at + struct.calcsize(form)] = struct.pack(form, *sides)
    return bytes(out)


def bombs() -> dict[str, bytes]:
    """Small files that would take much memory or time; those whose name begins with `refused` must be refused."""
    plain, baseline = _encoded("PNG", "RGB"), _encoded("JPEG", "L")
    zeros = zlib.compress(bytes(1 << 28), 9)
    frame = next(i for i in range(len(baseline)) if baseline[i] == 0xFF and baseline[i + 1] == 0xC0)
    huge_jpeg = _claiming(baseline, ">HH", frame + 5, 60_000, 60_000)
    # What a reader of segments takes for a small frame, libjpeg passes over as stuffing on its way to the huge one.
    small_frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 8, 8, 1) + b"\1\x11\0"
    progressive = _encoded("JPEG", "L", side=3000, progressive=True)
    last_scan = progressive.rindex(b"\xff\xda")
    gif = _encoded("GIF", "P", side=2000)
    first_frame = gif.index(b"\x2c", 13)

    def png_of(width: int, height: int) -> bytes:
        head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        return PNG_START + head + _chunk(b"IDAT", zlib.compress(bytes(10_000))) + _chunk(b"IEND", b"")

    def webp(kind: bytes, body: bytes) -> bytes:
        part = kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
        return b"RIFF" + struct.pack("<I", 4 + len(part)) + b"WEBP" + part

    return {
        "refused-png-claims.png": png_of(60_000, 60_000),
        "refused-png-just-over.png": png_of(10_001, 10_000),
        "png-second-header.png": plain[:33] + png_of(20_000, 20_000)[8:],
        "png-text.png": plain[:33] + _chunk(b"zTXt", b"k\0\0" + zeros) + plain[33:],
        "png-many-texts.png": plain[:33] + _chunk(b"zTXt", b"k\0\0" + zeros[:60_000]) * 200 + plain[33:],
        "png-profile.png": plain[:33] + _chunk(b"iCCP", b"k\0\0" + zeros) + plain[33:],
        "png-many-chunks.png": plain[:33] + _chunk(b"tEXt", b"k\0x") * 200_000 + plain[33:],
        "refused-bmp-claims.bmp": _claiming(_encoded("BMP", "RGB"), "<II", 18, 60_000, 60_000),
        "refused-jpeg-claims.jpg": huge_jpeg,
        "refused-jpeg-hidden-frame.jpg": b"\xff\xd8\xff\xff\0" + struct.pack(">H", 2) + small_frame + huge_jpeg[2:],
        "refused-jpeg-many-scans.jpg": progressive[:-2] + progressive[last_scan:-2] * 2000 + progressive[-2:],
        "refused-gif-screen.gif": _claiming(_encoded("GIF", "P"), "<HH", 6, 60_000, 60_000),
        "refused-gif-frame.gif": _claiming(gif, "<HH", first_frame + 5, 12_000, 12_000),
        "gif-many-frames.gif": gif[:-1] + gif[first_frame:-1] * 1000 + gif[-1:],
        "refused-webp-canvas.png": webp(b"VP8X", bytes(4) + (59_999).to_bytes(3, "little") * 2),
        "refused-webp-lossless.png": webp(b"VP8L", b"\x2f" + struct.pack("<I", 16_382 | 16_382 << 14) + bytes(40)),
    }


def decompression_bombs(lab: Lab) -> None:
    judge_all(lab, "image", write_files(lab.work / "bombs", bombs()), max_peak=1_000_000_000)


def odd_names(lab: Lab) -> None:
    """Bad ones are named, each on the one line; with --bad_images=skip the rest is trained on."""
    data = make_images(lab.work / "data", 12)
    horses = data / "horses"
    for name in ("a b", "line\nbreak", "\udcff\udcfe", "\u202eright", "-rf", "x" * 250):
        (horses / f"{name}.png").write_bytes(png(2))
    flags = training_flags(data, lab.work, "--epochs=1")
    ended = run("train", flags)
    lab.check(ended.code == 0, f"good images under odd names: {ended.last}")
    (horses / "folder.png").mkdir()
    (horses / "dangling.png").symlink_to("nowhere")
    (horses / "loop.png").symlink_to("loop.png")
    (horses / "loop").symlink_to("..")
    os.mkfifo(horses / "pipe.png")
    (horses / "bad\n\udcff.png").write_bytes(b"text")
    bad = ["dangling.png: No such", "loop.png: Too many levels", "pipe.png: not a regular", "bad\\n\\udcff.png: "]
    ended = run("train", [*flags, "--overwrite"])
    named = ended.is_one_line_error("train", "") and all(part in ended.err for part in bad)
    lab.check(named, f"named: {ended.err[-600:]!r}")
    ended = run("train", [*flags, "--overwrite", "--bad_images=skip"])
    lab.check(ended.code == 0 and ended.err.count("\nSkipping ") == len(bad) + 1, f"skipped: {ended.err[-600:]!r}")


def many_empty(lab: Lab, count: int, *, max_seconds: float = 120) -> None:
    """Very many empty files: a short message, in time."""
    data = make_images(lab.work / "data", 4)
    for i in range(count):
        (data / "humans" / f"e{i:06d}.png").touch()
    explore = [f"--train_dir={data}", f"--cache_dir={lab.work / 'cache'}", "--grid_size=0,0"]
    for command, flags in (("train", training_flags(data, lab.work)), ("explore", explore)):
        began = time.monotonic()
        ended = run(command, flags)
        short, text = len(ended.out) + len(ended.err) < 20_000, ended.out + ended.err
        good = ended.code == 2 and short and f"{count} of {count + 8} images" in text
        lab.check(good and time.monotonic() - began < max_seconds, f"{command}: {ended.last}")


def broken_models(lab: Lab, cuts: int, flips: int) -> None:
    """Exported and saved models cut at `cuts` places, and `flips` copies with changed bytes, half where structure is."""
    data = make_images(lab.work / "data", 12)
    run_well("train", training_flags(data, lab.work, "--epochs=1"))
    bundle = lab.work / "bundle"
    formats = ["--formats=float32,int8", "--calibration_images=8"]
    run_well("export", [f"--run_dir={lab.work / 'run'}", f"--export_dir={bundle}", *formats])
    models = (bundle / "model_float32.tflite", bundle / "model_int8.tflite", lab.work / "run" / "model.keras")
    for model in models:
        judge_all(lab, "model", broken_copies(lab.work / model.name, model, cuts, flips), max_peak=2_000_000_000)


def broken_copies(folder: Path, model: Path, cuts: int, flips: int) -> list[Path]:
    content, draw = model.read_bytes(), random.Random(0)
    files = {f"cut-{i}{model.suffix}": content[: len(content) * i // cuts] for i in range(cuts)}
    # Bytes near which most are zero are structure, not weights.
    structure = [i for i in range(4, len(content) - 4) if content[i - 2 : i + 3].count(0) >= 3]
    for i in range(flips):
        out = bytearray(content)
        for _ in range(draw.choice((1, 1, 2, 8))):
            place = draw.choice(structure) if structure and i % 2 else draw.randrange(len(out))
            out[place] = draw.choice((out[place] ^ 1 << draw.randrange(8), 0xFF, draw.randrange(256)))
        files[f"flip-{i}{model.suffix}"] = bytes(out)
    return write_files(folder, files)
