"""Unpacks zips of image folders, once and safely. No TensorFlow."""

import hashlib
import logging
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from hh_fast.data.folders import PICTURES, SUFFIXES
from hh_fast.errors import DataError, HHFastError
from hh_fast.io.files import made_once

logger = logging.getLogger(__name__)

# The original data set unpacks to 160 MB; a zip bomb of some MB can unpack to petabytes.
MAX_UNPACKED_BYTES = 64 << 30
MAX_FILES = 2_000_000
# Images are already compressed: a ratio of 1.1 is usual, and flat drawings may reach ten.
MAX_RATIO = 100
SMALL_BYTES = 1 << 28
CHUNK = 1 << 20


def _checked_path(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or (name.parts and ":" in name.parts[0]):
        raise DataError(
            f"{archive} contains {member.filename!r}, which is outside of the folder that it is unpacked to: do not trust it"
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(f"{archive} contains a link, {member.filename!r}: zip the files themselves")
    return name


def _is_hidden(name: PurePosixPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.parts)


def _is_image(name: PurePosixPath) -> bool:
    return not _is_hidden(name) and name.name.lower().endswith(SUFFIXES)


def _images(archive: Path, opened: zipfile.ZipFile) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The images in a zip by their paths. Other members must have safe paths too."""
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    members = opened.infolist()
    if len(members) > MAX_FILES:
        raise DataError(f"{archive} contains {len(members)} files, more than {MAX_FILES}: unpack it yourself")
    for member in members:
        name = _checked_path(archive, member)
        if member.is_dir() or not _is_image(name):
            continue
        if name in found:
            raise DataError(f"{archive} contains {str(name)!r} twice: zip the folder again")
        found[name] = member
    for name in found:
        if any(parent in found for parent in name.parents):
            raise DataError(f"{archive} contains {str(name)!r} below a file: zip the folder again")
    return found


def _refuse_bomb(archive: Path, num_bytes: int, target: Path, max_bytes: int) -> None:
    """Checks the sizes stated in the zip before anything is written; members are read up to their stated size only."""
    if num_bytes > max_bytes:
        raise DataError(
            f"{archive} unpacks to {num_bytes:,} bytes, more than {max_bytes:,}: unpack it yourself if you trust it"
        )
    size = archive.stat().st_size
    if num_bytes > max(MAX_RATIO * size, SMALL_BYTES):
        raise DataError(
            f"{archive} unpacks to {num_bytes:,} bytes, over {MAX_RATIO} times its {size:,}, unlike any images:"
            " do not trust it"
        )
    free = shutil.disk_usage(target).free
    if num_bytes > free:
        raise DataError(
            f"{archive} unpacks to {num_bytes:,} bytes, but {target.parent} has {free:,} free: free some space, or give"
            " another --cache_dir"
        )


def _extract(archive: Path, target: Path, max_bytes: int) -> int:
    with zipfile.ZipFile(archive) as opened:
        images = _images(archive, opened)
        _refuse_bomb(archive, sum(member.file_size for member in images.values()), target, max_bytes)
        for name, member in images.items():
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as source, place.open("wb") as out:
                shutil.copyfileobj(source, out, CHUNK)
        # Other files are created empty, so that listing the folder reports them as left out.
        root = class_root(target) if images else target
        for member in opened.infolist():
            name = PurePosixPath(member.filename.replace("\\", "/"))
            if not member.is_dir() and not _is_hidden(name) and name not in images:
                folder = next(parent for parent in (target / name).parents if parent.is_dir())
                ((folder if folder.is_relative_to(root) else root) / name.name).touch()
    return len(images)


def class_root(folder: Path) -> Path:
    """The folder with the class sub-folders: `folder`, or its only sub-folder, at any depth."""
    while True:
        inner = [entry for entry in folder.iterdir() if entry.is_dir()]
        if len(inner) != 1 or not any(entry.is_dir() for entry in inner[0].iterdir()):
            return folder
        folder = inner[0]


def unpack(archive: Path, cache_root: Path, *, max_bytes: int = MAX_UNPACKED_BYTES) -> Path:
    """The folder with the class sub-folders of a zip, which is unpacked under `cache_root` once, named by content.

    Only images are unpacked; other files are created empty.

    Raises:
        DataError: not a zip, or one that is damaged, has no images, has duplicate or unsafe paths or links, or unpacks to more
            than `max_bytes`, the free disk space, or 100 times its size.
    """
    digest = hashlib.sha256(" ".join(SUFFIXES).encode())  # what is unpacked depends on these
    with archive.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    folder = cache_root / "unpacked" / f"{archive.stem}-{digest.hexdigest()[:16]}"

    def unpack_to(target: Path) -> None:
        logger.info("Unpacking %s into %s (once)", archive, folder)
        try:
            count = _extract(archive, target, max_bytes)
        except (HHFastError, OSError):
            raise
        except Exception as e:  # damage makes zipfile and its decompressors raise nearly anything
            reason = " ".join(str(e).split()) or type(e).__name__
            raise DataError(f"{archive} is not a readable zip ({reason}): download it again") from e
        if count == 0:
            raise DataError(f"{archive} contains no {PICTURES} file in a folder: zip the class folders")
        if sum(entry.is_dir() for entry in class_root(target).iterdir()) < 2:
            raise DataError(
                f"{archive} contains {count} images but no two class folders: put the images of each class into a folder named"
                " after it, and zip these folders"
            )

    return class_root(made_once(folder, unpack_to, f"Waiting for another run that is unpacking {archive}"))
