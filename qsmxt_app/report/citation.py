"""`logs/CITATION.md`, `.html` and `.bib`: the methods text and the references of just the methods used."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

from qsmxt_app.bids.atomic import write_text
from qsmxt_app.report.methods import Methods, cited, methods_of
from qsmxt_app.report.record import RECORD_SUFFIX, read_record
from qsmxt_app.report.references import Reference
from qsmxt_app.report.rendering import encodable, render

_INTRODUCTION = (
    "This text describes what was run. It is released under CC0: copy it into a manuscript as it is."
)


def write_citations(output_dir: Path, methods: Methods | None = None) -> tuple[Path, Path, Path]:
    """Write the methods text of a dataset.

    Parameters
    ----------
    output_dir
        The derivative dataset; the files go into its `logs` folder.
    methods
        What to describe before anything was run; by default, what the records on disk say.

    Returns
    -------
    tuple of pathlib.Path
        The Markdown, HTML and BibTeX files.
    """
    paragraphs = {methods: ()} if methods else _recorded_methods(output_dir)
    references = cited(sentence for item in paragraphs for sentence in item.sentences)
    texts = [
        (item.paragraph, ", ".join(stems) if len(paragraphs) > 1 else "")
        for item, stems in paragraphs.items()
    ]
    folder = output_dir / "logs"
    contents = {
        "CITATION.md": _markdown(texts, references),
        "CITATION.html": render(
            "citation.html", paragraphs=texts, references=references, introduction=_INTRODUCTION
        ),
        "CITATION.bib": "\n".join(reference.bibtex() for reference in references),
    }
    for name, content in contents.items():
        write_text(folder / name, content)
    return folder / "CITATION.md", folder / "CITATION.html", folder / "CITATION.bib"


def _recorded_methods(output_dir: Path) -> Mapping[Methods, tuple[str, ...]]:
    """Describe the acquisitions that gave a map, each text once, with the acquisitions that it holds for."""
    found: dict[Methods, tuple[str, ...]] = {}
    for path in sorted(output_dir.glob(f"sub-*/figures/*{RECORD_SUFFIX}")):
        record = read_record(path)
        if "chi" in record.outputs:
            methods = methods_of(record)
            found[methods] = (*found.get(methods, ()), record.stem)
    return found


def _markdown(texts: list[tuple[str, str]], references: tuple[Reference, ...]) -> str:
    lines = ["# Methods", _INTRODUCTION]
    for paragraph, stems in texts:
        # Markdown passes HTML through, so what comes from a record must not look like it.
        lines += [
            html.escape(line, quote=False) for line in (f"({stems})" if stems else "", paragraph) if line
        ]
    items = (f"- {item.sentence()} [doi:{item.doi}](https://doi.org/{item.doi})" for item in references)
    return encodable("\n\n".join([*lines, "## References", "\n".join(items)]) + "\n")
