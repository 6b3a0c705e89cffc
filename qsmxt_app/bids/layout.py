"""Listing a dataset with pybids: which files are indexed, and where the index is kept.

pybids is imported when a dataset is opened, not before: it takes a second, which `qsmxt --help` need not pay.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bidsschematools.schema import load_schema

from qsmxt_app.bids.atomic import make_folder
from qsmxt_app.bids.sidecars import read_json_object
from qsmxt_app.errors import NoInput, QsmxtError, UnusableData, WrongUsage

RAW_FOLDERS = ("anat", "swi")
"""Folders of a participant or session that are indexed; in ``swi``, drafts of BIDS had gradient echoes."""
DATABASE = "layout_index.sqlite"

_LABEL = r"[0-9A-Za-z+]+"
_NAME = r"[0-9A-Za-z+_-]+(?:\.nii(?:\.gz)?|\.json)"


def open_layout(
    root: Path,
    subjects: Sequence[str],
    *,
    folders: Sequence[str] = RAW_FOLDERS,
    database_dir: Path | None = None,
) -> Any:
    """Index the images and sidecars of participants.

    Parameters
    ----------
    root
        The dataset.
    subjects
        Labels of the participants to index, none for all. A saved index always covers all participants.
    folders
        Names of the folders to index below a participant or session.
    database_dir
        Where the index is kept: used if it exists, made otherwise.

    Returns
    -------
    bids.BIDSLayout
        Without metadata: sidecars are read by `Sidecars`, one by one, so that a bad one spoils one scan only.

    Raises
    ------
    UnusableData
        If ``dataset_description.json`` is not a JSON object, or pybids cannot index the dataset.
    WrongUsage
        If the saved index is of another dataset, or is not an index.
    """
    description = root / "dataset_description.json"
    if description.exists():
        # pybids would wait for a named pipe, and fail on a list
        read_json_object(description)
    if database_dir is None:
        return _index(root, _ignored(folders, subjects), None)
    _refuse_inside(database_dir, root)
    if not (database_dir / DATABASE).is_file():
        _save_index(root, _ignored(folders, ()), database_dir)
    return _saved_index(root, database_dir)


def files(layout: Any, query: Mapping[str, Any]) -> list[Path]:
    """Paths of the files of a layout that a query selects.

    Parameters
    ----------
    layout
        From `open_layout`.
    query
        Entities, by their short or long names, to a label, a list of labels, None (the entity is absent) or
        ``"*"`` (it is present, with any label); ``regex_search`` true makes the labels regular expressions.
    """
    known = layout.get_entities()
    named = {_name_in(known, key): _wanted(value) for key, value in query.items()}
    return [Path(path) for path in layout.get(return_type="filename", invalid_filters="allow", **named)]


@cache
def long_names() -> dict[str, str]:
    """Short keys of all entities (``acq``) to their long names (``acquisition``), in the order of BIDS."""
    schema = load_schema()
    return {str(schema.objects.entities[name].name): str(name) for name in schema.rules.entities}


def _name_in(known: Mapping[str, object], key: str) -> str:
    """Name of an entity in an index, which another program may have made with names of its own."""
    long = long_names().get(key, key)
    short = next((short for short, name in long_names().items() if name == key), key)
    return next((name for name in (long, short) if name in known), key)


def _wanted(value: Any) -> Any:
    from bids.layout import Query

    if isinstance(value, list | tuple):
        return [_wanted(one) for one in value]
    if value is None:
        return Query.NONE
    return Query.ANY if value == "*" else value


def _ignored(folders: Iterable[str], subjects: Sequence[str]) -> re.Pattern[str]:
    """Pattern of all paths (from the root) that are not indexed: everything but images and sidecars.

    What has another name is never looked at, so that no link leads in circles and no name breaks the index.
    """
    labels = "|".join(map(re.escape, subjects)) or _LABEL
    inside = rf"(?:{'|'.join(folders)})(?:/{_NAME})?"
    below = rf"/sub-(?:{labels})(?:/(?:ses-{_LABEL}/)?{inside}|/ses-{_LABEL}(?:/{_NAME})?|/{_NAME})?"
    return re.compile(rf"^(?!(?:{below}|/{_NAME})\Z)", re.ASCII)


def _config() -> dict[str, Any]:
    """Entities of BIDS, read from file names only.

    The patterns of pybids search the whole path, in which a folder above the dataset may be called sub-x.
    """
    schema = load_schema()
    entities: list[dict[str, Any]] = [
        {"name": name, "pattern": rf"[/_]{short}-({_LABEL})(?=[^/]*$)"}
        | ({"dtype": "int"} if schema.objects.entities[name].format == "index" else {})
        for short, name in long_names().items()
    ]
    entities += [
        {"name": "suffix", "pattern": r"[/_]([0-9A-Za-z+]+)\.[^/]+$"},
        {"name": "extension", "pattern": r"[^./](\.[^/]+)$"},
        {"name": "datatype", "pattern": r"/([a-z]+)/[^/]+$"},
    ]
    return {"name": "qsmxt", "entities": entities}


def _index(root: Path, ignored: re.Pattern[str], database_dir: Path | None) -> Any:
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    # A dataset may bring patterns of its own in a file of this name: not in one whose name it cannot guess.
    indexer = BIDSLayoutIndexer(
        validate=False, index_metadata=False, ignore=[ignored], config_filename=secrets.token_hex(16)
    )
    try:
        return BIDSLayout(
            root, validate=False, config=[_config()], indexer=indexer, database_path=database_dir
        )
    except UnicodeEncodeError as error:
        raise NoInput(f"{root!s}: its name is not UTF-8.", "Rename the folder.") from error
    except (QsmxtError, OSError):
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise UnusableData(
            f"{root}: cannot be indexed ({reason}).", "Check dataset_description.json."
        ) from error


def _save_index(root: Path, ignored: re.Pattern[str], database_dir: Path) -> None:
    """Make an index under another name, so that a run that starts meanwhile finds all of it or none."""
    unfinished = database_dir.with_name(f".{database_dir.name}.{secrets.token_hex(8)}")
    make_folder(unfinished.parent)
    try:
        _index(root, ignored, unfinished)
        make_folder(database_dir)
        (unfinished / DATABASE).replace(database_dir / DATABASE)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _saved_index(root: Path, database_dir: Path) -> Any:
    from bids.layout import BIDSLayout
    from sqlalchemy.exc import SQLAlchemyError

    again = "Give another folder, or remove this one to index the dataset again."
    try:
        layout = BIDSLayout.load(database_dir)
        indexed = Path(layout.root)
    except (SQLAlchemyError, AttributeError, ValueError, TypeError) as error:
        raise WrongUsage(f"--bids-database-dir {database_dir}: not an index of pybids.", again) from error
    if indexed.resolve() != root.resolve():
        raise WrongUsage(f"--bids-database-dir {database_dir}: the index of {indexed}.", again)
    return layout


def _refuse_inside(database_dir: Path, root: Path) -> None:
    with contextlib.suppress(ValueError):
        database_dir.resolve().relative_to(root.resolve())
        raise WrongUsage(
            f"--bids-database-dir {database_dir} lies inside the raw dataset.", "Choose another folder."
        )
