"""Zips of image folders, unpacked once and safely. No TensorFlow."""

import hashlib
import logging
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from hh_fast.data.scan import SUFFIXES
from hh_fast.errors import DataError
from hh_fast.files import atomic_dir, locked

logger = logging.getLogger(__name__)

# The real data set unpacks to 160 MB; a bomb of some MB can claim petabytes.
MAX_UNPACKED_BYTES = 64 << 30
MAX_FILES = 2_000_000
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


def _is_image(name: PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.parts)
    return not hidden and name.name.lower().endswith(SUFFIXES)


def _extract(archive: Path, target: Path, max_bytes: int) -> int:
    left = max_bytes
    count = 0
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        if len(members) > MAX_FILES:
            raise DataError(f"{archive} holds {len(members)} files, more than {MAX_FILES}: unpack it by hand")
        for member in members:
            name = _checked_path(archive, member)
            if member.is_dir() or not _is_image(name):
                continue
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as source, place.open("wb") as out:
                # Counted as it comes out: the sizes that a zip states of itself may lie.
                while chunk := source.read(CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        raise DataError(
                            f"{archive} unpacks to more than {max_bytes:,} bytes: unpack it by hand if you trust it"
                        )
                    out.write(chunk)
            count += 1
    return count


def class_root(folder: Path) -> Path:
    """The folder that holds the class sub-folders: `folder`, or the only one inside it, however deep."""
    while True:
        inner = [entry for entry in folder.iterdir() if entry.is_dir()]
        if len(inner) != 1 or not any(entry.is_dir() for entry in inner[0].iterdir()):
            return folder
        folder = inner[0]


def unpack(archive: Path, cache_root: Path, *, max_bytes: int = MAX_UNPACKED_BYTES) -> Path:
    """The folder with the class sub-folders of a zip, unpacked under `cache_root` by its content, once.

    Only images are unpacked.

    Raises:
        DataError: no zip, a damaged one, one that holds no image, links or paths out of its folder, or more than
            `max_bytes`.
    """
    digest = hashlib.sha256()
    with archive.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    folder = cache_root / "unpacked" / f"{archive.stem}-{digest.hexdigest()[:16]}"
    with locked(folder, f"Waiting for another run that unpacks {archive}"):
        if not folder.is_dir():
            logger.info("Unpacking %s into %s (once)", archive, folder)
            try:
                with atomic_dir(folder) as temporary:
                    if _extract(archive, temporary, max_bytes) == 0:
                        raise DataError(
                            f"{archive} holds no PNG, JPEG, BMP or GIF file in a folder: zip the class folders"
                        )
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as e:
                raise DataError(
                    f"{archive} is no zip that can be read ({' '.join(str(e).split())}): download it again"
                ) from e
    return class_root(folder)
