"""`logs/CITATION.md`, `.html` and `.bib`: the methods text and the references of just the methods used."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path

from qsmxt_app.bibliography import Reference
from qsmxt_app.bids.atomic import write_text
from qsmxt_app.bids.dataset import participant_labels
from qsmxt_app.records.group import read_group_record
from qsmxt_app.records.scan import ScanRecord, read_records
from qsmxt_app.report.labelling_text import group_sentences
from qsmxt_app.report.methods import Methods, cited, describe_methods
from qsmxt_app.report.model_text import model_sentences
from qsmxt_app.report.rendering import encodable, render

_INTRODUCTION = (
    "This text describes what was run. It is released under CC0: copy it into a manuscript as it is."
)


def write_citations(output_dir: Path, planned: Iterable[ScanRecord] | None = None) -> tuple[Path, Path, Path]:
    """Write the methods text of a dataset.

    Parameters
    ----------
    output_dir
        The derivative dataset; the files go into its `logs` folder.
    planned
        Acquisitions to describe before anything was run, with their settings; by default, all that the
        records on disk tell, the group level among it.

    Returns
    -------
    tuple of pathlib.Path
        The Markdown, HTML and BibTeX files.
    """
    paragraphs = _grouped(_with_a_map(output_dir) if planned is None else planned)
    record = read_group_record(output_dir) if planned is None else None
    group = Methods((*group_sentences(record), *model_sentences(record)))
    if group.sentences:
        paragraphs[group] = ("group level",)
    references = cited(sentence for item in paragraphs for sentence in item.sentences)
    texts = [
        (item.paragraph, ", ".join(stems) if len(paragraphs) > 1 else "", " ".join(item.notes))
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


def _with_a_map(output_dir: Path) -> Iterable[ScanRecord]:
    """Read the records of the acquisitions that gave a map."""
    return (
        record
        for label in participant_labels(output_dir)
        for record in read_records(output_dir, label)
        if "chi" in record.outputs
    )


def _grouped(records: Iterable[ScanRecord]) -> dict[Methods, tuple[str, ...]]:
    """Describe acquisitions, each text once, with the acquisitions that it holds for."""
    found: dict[Methods, tuple[str, ...]] = {}
    for record in records:
        methods = describe_methods(record)
        found[methods] = (*found.get(methods, ()), record.stem)
    return found


def _markdown(texts: list[tuple[str, str, str]], references: tuple[Reference, ...]) -> str:
    lines = ["# Methods", _INTRODUCTION]
    for paragraph, stems, notes in texts:
        # Markdown passes HTML through, so what comes from a record must not look like it.
        lines += [
            html.escape(line, quote=False)
            for line in (f"({stems})" if stems else "", paragraph, f"({notes})" if notes else "")
            if line
        ]
    items = (f"- {item.sentence()} [doi:{item.doi}](https://doi.org/{item.doi})" for item in references)
    return encodable("\n\n".join([*lines, "## References", "\n".join(items)]) + "\n")
