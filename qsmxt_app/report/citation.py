"""`logs/CITATION.md`, `.html` and `.bib`: the methods text and the references of just the methods used."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from qsmxt_app.report.methods import Methods, cited, methods_of, render_citations
from qsmxt_app.report.record import RECORD_SUFFIX, read_record
from qsmxt_app.report.references import Reference
from qsmxt_app.report.rendering import render

_INTRODUCTION = (
    "This text describes what was run. It is released under CC0: copy it into a manuscript as it is."
)


def write_citations(output_dir: Path, methods: Iterable[Methods] | None = None) -> tuple[Path, Path, Path]:
    """Write the methods text of a dataset.

    Parameters
    ----------
    output_dir
        The derivative dataset; the files go into its `logs` folder.
    methods
        What to describe, for use before anything was run; by default, what the records on disk say.

    Returns
    -------
    tuple of pathlib.Path
        The Markdown, HTML and BibTeX files.
    """
    described = list(methods) if methods is not None else _recorded_methods(output_dir)
    paragraphs = list(dict.fromkeys(item.sentences for item in described))
    references = cited(sentence for sentences in paragraphs for sentence in sentences)
    folder = output_dir / "logs"
    contents = {
        "CITATION.md": _markdown(paragraphs, references),
        "CITATION.html": _page(paragraphs, references),
        "CITATION.bib": "\n".join(reference.bibtex() for reference in references),
    }
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return folder / "CITATION.md", folder / "CITATION.html", folder / "CITATION.bib"


def write_atomically(path: Path, content: str) -> None:
    """Write a text file so that readers see the old or the new one, never a part.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            # Lone surrogates stand for undecodable bytes in file names and cannot be written as UTF-8.
            file.write(content.encode("utf-8", "replace").decode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def _recorded_methods(output_dir: Path) -> list[Methods]:
    """Describe the acquisitions that gave a map; those that failed were not done as described."""
    records = [read_record(path) for path in sorted(output_dir.glob(f"sub-*/figures/*{RECORD_SUFFIX}"))]
    return [methods_of(record) for record in records if "chi" in record.outputs]


def _markdown(paragraphs: list[tuple[str, ...]], references: tuple[Reference, ...]) -> str:
    texts = (render_citations(" ".join(sentences)) for sentences in paragraphs)
    # Markdown passes HTML through, so what comes from a record must not look like it.
    body = "\n\n".join(html.escape(text, quote=False) for text in texts)
    items = (f"- {item.sentence()} [doi:{item.doi}](https://doi.org/{item.doi})\n" for item in references)
    return f"# Methods\n\n{_INTRODUCTION}\n\n{body}\n\n## References\n\n{''.join(items)}"


def _page(paragraphs: list[tuple[str, ...]], references: tuple[Reference, ...]) -> str:
    rendered = [render_citations(" ".join(sentences)) for sentences in paragraphs]
    return render("citation.html", paragraphs=rendered, references=references, introduction=_INTRODUCTION)
