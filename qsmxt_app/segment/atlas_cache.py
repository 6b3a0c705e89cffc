"""Built-in atlases kept on disk, so that each is built once per user and version, not once per participant.

An image may hold them, made when it was built; else they are in the cache folder of the user, which others
must not be able to write to. Where nothing can be written, an atlas is built each time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

from qsmxt_app.mni152.files import DATA
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.atlases import ATLASES
from qsmxt_app.segment.saved_atlas import ATLAS_FILE, load_saved_atlas, save_atlas
from qsmxt_app.source_graph import package_graph

PREPARED = Path(sys.prefix, "share", "qsmxt", "cache", "atlases")
"""Atlases of an image, made when it was built."""
_LIBRARIES = ("numpy", "scipy")
"""Packages on which the voxels of an atlas depend."""


def cached_atlas(name: str, prepared: Path = PREPARED) -> Atlas:
    """Load a built-in atlas, or build it and keep it.

    Parameters
    ----------
    name
        Of the atlas.
    prepared
        Folder of an image with atlases; it need not exist.
    """
    folders = [folder / f"{name}-{_digest()}" for folder in (prepared, *_private_folder())]
    for folder in folders:
        if (folder / ATLAS_FILE).is_file():
            return load_saved_atlas(folder / ATLAS_FILE)
    atlas = ATLASES[name].build()
    for folder in folders:
        if _keep(atlas, folder):
            break
    return atlas


def _private_folder() -> Iterator[Path]:
    """Folder of this user, unless somebody else owns it or may write to it."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~"), ".cache"))  # noqa: PTH111
    folder = base / "qsmxt"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return
    if found.st_uid == os.getuid() and not found.st_mode & 0o022:
        yield folder


def _keep(atlas: Atlas, folder: Path) -> bool:
    """Save an atlas under another name and rename it: readers see all of it or nothing."""
    if not folder.parent.is_dir() or not os.access(folder.parent, os.W_OK):
        return False
    try:
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError:
        return False
    try:
        save_atlas(atlas, unfinished)
        unfinished.replace(folder)
    except OSError:  # a full disk, or another process that was first
        shutil.rmtree(unfinished, ignore_errors=True)
        return (folder / ATLAS_FILE).is_file()
    return True


@cache
def _digest() -> str:
    """What the voxels depend on: code, images and libraries."""
    state = hashlib.sha256(package_graph().digest(Path(__file__)).encode())
    for name in _LIBRARIES:
        state.update(f"{name} {version(name)}".encode())
    for image in sorted(DATA.iterdir()):
        state.update(image.read_bytes())
    return state.hexdigest()[:16]
