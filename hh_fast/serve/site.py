"""The static site: the page, its runtime and one exported model, as files in memory with relative paths only."""

import base64
import dataclasses
import hashlib
import html
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hh_fast.errors import DataError
from hh_fast.io.output_folder import OutputFolder

logger = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "site"
INDEX, WORKER, MANIFEST, MODEL = "index.html", "sw.js", "manifest.webmanifest", "model.json"
ASPECTS = ("stretch", "crop", "pad")
FORMATS = ("int8", "float32", "dynamic", "float16")  # by preference: int8 is the smallest and the fastest in a browser
MAX_NAMES_IN_TITLE = 4


def _read_metadata(export_dir: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((export_dir / "metadata.json").read_text(encoding="utf-8")))
    except FileNotFoundError as e:
        raise DataError(f"`export_dir` must be a bundle that bin/export wrote. Received: {export_dir}") from e
    except ValueError as e:
        raise DataError(f"{export_dir / 'metadata.json'} is damaged ({e}): export again") from e


def _title(metadata: Mapping[str, Any]) -> str:
    names = [name for name in metadata["class_names"] if name != metadata.get("unknown_class")]
    title = metadata["name"] if len(names) > MAX_NAMES_IN_TITLE else f"{', '.join(names[:-1])} or {names[-1]}?"
    return str(title[:1].upper() + title[1:])


def _choose_file(metadata: Mapping[str, Any], formats: Sequence[str], export_dir: Path) -> Mapping[str, Any]:
    files, left_out = metadata["files"], metadata["left_out"]
    chosen = next((name for name in formats if name in files), None)
    if chosen is None:
        raise DataError(
            f"{export_dir} has no file that the page can run: export it with one of --formats={','.join(formats)}"
        )
    if chosen != formats[0]:
        why = f" ({left_out[formats[0]]})" if formats[0] in left_out else ""
        logger.warning(
            "The bundle has no %s file%s, so the page runs %s: larger, and slower on phones",
            *(formats[0], why, files[chosen]["file"]),
        )
    return dict(files[chosen])


def _model_json(metadata: Mapping[str, Any], file: Mapping[str, Any], export_dir: Path) -> dict[str, Any]:
    """The model's facts for the page, without paths or other facts of the exporting machine."""
    image = metadata["input"]
    stored = file["input"]["quantization"] or {"scale": 1, "zero_point": 0}
    resize = image["resize"]
    takes_bilinear = resize["interpolation"] == "bilinear" and resize["aspect"] in ASPECTS
    if not takes_bilinear or stored != {"scale": 1, "zero_point": 0}:
        raise DataError(
            f"{export_dir}: the page resizes bilinearly to whole pixels, but this model takes {resize['interpolation']},"
            f" {resize['aspect']}, {stored}: train and export it with bilinear resizing"
        )
    return {
        "file": Path(file["file"]).name,
        "class_names": metadata["class_names"],
        "unknown_class": metadata.get("unknown_class"),
        "height": image["height"],
        "width": image["width"],
        "aspect": resize["aspect"],
        "dtype": file["input"]["dtype"],
        "output": file["output"]["quantization"] or {"scale": 1, "zero_point": 0},
    }


def _integrity(content: bytes) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}"


def _worker(template: bytes, files: Mapping[str, bytes]) -> bytes:
    hashes = {"./" if name == INDEX else name: _integrity(content) for name, content in sorted(files.items())}
    listing = json.dumps(hashes, indent=2).encode()
    version = hashlib.sha256(listing).hexdigest()[:16].encode()
    return template.replace(b"{/* files */}", listing).replace(b"/* version */", version)


@dataclasses.dataclass(frozen=True)
class Bundle:
    """The parts of a bundle for the page: its title, the model's facts, and the content of the model file."""

    title: str
    model: Mapping[str, Any]
    content: bytes


def read_bundle(export_dir: Path, formats: Sequence[str] = FORMATS) -> Bundle:
    """Reads a bundle of bin/export, with the first of `formats` that it has.

    Raises:
        DataError: `export_dir` is not a bundle, has no file for the page, or a truncated one.
    """
    metadata = _read_metadata(export_dir)
    try:
        file = _choose_file(metadata, formats, export_dir)
        model = _model_json(metadata, file, export_dir)
        num_bytes, title = file["bytes"], _title(metadata)
    except (KeyError, TypeError) as e:
        raise DataError(f"{export_dir} is a bundle of an older hh_fast (metadata.json: {e}): export it again") from e
    path = export_dir / model["file"]
    content = path.read_bytes()
    if len(content) != num_bytes:
        raise DataError(f"{path} is truncated: it should have {num_bytes} bytes; export or copy it again")
    return Bundle(title, model, content)


def build(bundle: Bundle, runtime: Mapping[str, bytes]) -> dict[str, bytes]:
    """All files of the site by path; `runtime`: LiteRT.js by file name, from `read_runtime`."""
    files = {path.name: path.read_bytes() for path in PAGE.iterdir() if path.is_file()}
    files |= {f"litert/{name}": content for name, content in runtime.items()}
    files |= {bundle.model["file"]: bundle.content, MODEL: json.dumps(bundle.model, ensure_ascii=False).encode()}
    files[INDEX] = files[INDEX].replace(b"<!-- title -->", html.escape(bundle.title).encode())
    manifest = json.loads(files[MANIFEST]) | {"name": bundle.title, "short_name": bundle.title}
    files[MANIFEST] = json.dumps(manifest, ensure_ascii=False).encode()
    template = files.pop(WORKER)
    return files | {WORKER: _worker(template, files)}


def write(files: Mapping[str, bytes], site_dir: Path) -> None:
    """Writes the site to a folder, replacing an older one; other files are kept.

    Raises:
        UsageError, DataError: as `OutputFolder.replaced`.
        OSError: it cannot be written; an older site is kept.
    """
    names = tuple({name.partition("/")[0] for name in files})
    with OutputFolder(site_dir, "site_dir", "site", names).replaced(INDEX) as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
