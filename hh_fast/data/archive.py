"""Zips of image folders, unpacked once and safely. No TensorFlow."""

import hashlib
import logging
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from hh_fast.data.folders import PICTURES, SUFFIXES
from hh_fast.errors import DataError, HHFastError
from hh_fast.io.files import atomic_dir, locked

logger = logging.getLogger(__name__)

# The real data set unpacks to 160 MB; a bomb of some MB can claim petabytes.
MAX_UNPACKED_BYTES = 64 << 30
MAX_FILES = 2_000_000
# What holds images is packed already: 1.1 is usual, and flat drawings may reach ten.
MAX_RATIO = 100
SMALL_BYTES = 1 << 28
CHUNK = 1 << 20


def _checked_path(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or (name.parts and ":" in name.parts[0]):
        raise DataError(
            f"{archive} holds {member.filename!r}, which would leave the folder it is unpacked to: do not trust it"
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(f"{archive} holds a link, {member.filename!r}: pack the files themselves")
    return name


def _is_hidden(name: PurePosixPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.parts)


def _is_image(name: PurePosixPath) -> bool:
    return not _is_hidden(name) and name.name.lower().endswith(SUFFIXES)


def _images(archive: Path, opened: zipfile.ZipFile) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The images in a zip, by where they go. Members of other kinds must be harmless too."""
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    members = opened.infolist()
    if len(members) > MAX_FILES:
        raise DataError(f"{archive} holds {len(members)} files, more than {MAX_FILES}: unpack it by hand")
    for member in members:
        name = _checked_path(archive, member)
        if member.is_dir() or not _is_image(name):
            continue
        if name in found:
            raise DataError(f"{archive} holds {str(name)!r} twice: pack the folder anew")
        found[name] = member
    for name in found:
        if any(parent in found for parent in name.parents):
            raise DataError(f"{archive} holds {str(name)!r} below a file: pack the folder anew")
    return found


def _refuse_bomb(archive: Path, num_bytes: int, target: Path, max_bytes: int) -> None:
    """By the sizes that the zip states, before anything is written; reading a member ends at its stated size."""
    if num_bytes > max_bytes:
        raise DataError(
            f"{archive} unpacks to {num_bytes:,} bytes, more than {max_bytes:,}: unpack it by hand if you trust it"
        )
    size = archive.stat().st_size
    if num_bytes > max(MAX_RATIO * size, SMALL_BYTES):
        raise DataError(
            f"{archive} unpacks to {num_bytes:,} bytes, over {MAX_RATIO} times its {size:,}, which images do not:"
            " do not trust it"
        )
    free = shutil.disk_usage(target).free
    if num_bytes > free:
        raise DataError(
            f"{archive} unpacks to {num_bytes:,} bytes, and {target.parent} has {free:,} free: free some space, or give"
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
        # Of other files the names alone, so that whoever looks at the folder can say what is left out.
        root = class_root(target) if images else target
        for member in opened.infolist():
            name = PurePosixPath(member.filename.replace("\\", "/"))
            if not member.is_dir() and not _is_hidden(name) and name not in images:
                folder = next(parent for parent in (target / name).parents if parent.is_dir())
                ((folder if folder.is_relative_to(root) else root) / name.name).touch()
    return len(images)


def class_root(folder: Path) -> Path:
    """The folder that holds the class sub-folders: `folder`, or the only one inside it, however deep."""
    while True:
        inner = [entry for entry in folder.iterdir() if entry.is_dir()]
        if len(inner) != 1 or not any(entry.is_dir() for entry in inner[0].iterdir()):
            return folder
        folder = inner[0]


def unpack(archive: Path, cache_root: Path, *, max_bytes: int = MAX_UNPACKED_BYTES) -> Path:
    """The folder with the class sub-folders of a zip, unpacked under `cache_root` by its content, once.

    Only images are unpacked; of other files there is an empty one of that name.

    Raises:
        DataError: no zip, a damaged one, one that holds no image, a file twice, links or paths out of its folder, or more
            than `max_bytes`, the free disk, or 100 times its own size.
    """
    digest = hashlib.sha256(" ".join(SUFFIXES).encode())  # what is unpacked of it
    with archive.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    folder = cache_root / "unpacked" / f"{archive.stem}-{digest.hexdigest()[:16]}"
    if folder.is_dir():
        return class_root(folder)
    with locked(folder, f"Waiting for another run that unpacks {archive}"):
        if not folder.is_dir():
            logger.info("Unpacking %s into %s (once)", archive, folder)
            _unpack(archive, folder, max_bytes)
    return class_root(folder)


def _unpack(archive: Path, folder: Path, max_bytes: int) -> None:
    with atomic_dir(folder) as temporary:
        try:
            count = _extract(archive, temporary, max_bytes)
        except (HHFastError, OSError):
            raise
        except Exception as e:  # damage makes zipfile and its decompressors raise nearly anything
            reason = " ".join(str(e).split()) or type(e).__name__
            raise DataError(f"{archive} is no zip that can be read ({reason}): download it again") from e
        if count == 0:
            raise DataError(f"{archive} holds no {PICTURES} file in a folder: zip the class folders")
        if sum(entry.is_dir() for entry in class_root(temporary).iterdir()) < 2:
            raise DataError(
                f"{archive} holds {count} images and no two class folders: put the images of each class into a folder named"
                " after it, and zip these folders"
            )
