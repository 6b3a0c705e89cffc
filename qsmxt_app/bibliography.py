"""A publication, and how it is written in a list of references and in BibTeX."""

from __future__ import annotations

from dataclasses import dataclass

_EN_DASH = "\N{EN DASH}"


@dataclass(frozen=True)
class Reference:
    """One publication.

    Attributes
    ----------
    key
        Citation key, also the key in the BibTeX file.
    short
        How it is cited in a sentence: `Langkammer et al., 2015`.
    authors
        `Family, Given` names, in order; `others` stands for the rest.
    """

    key: str
    short: str
    authors: tuple[str, ...]
    title: str
    journal: str
    year: int
    doi: str
    volume: str = ""
    pages: str = ""

    def sentence(self) -> str:
        """Return the reference as it stands in a list, without its DOI."""
        names = ", ".join("et al" if name == "others" else name.replace(",", "") for name in self.authors)
        where = ":".join(part for part in (self.volume, self.pages.replace("-", _EN_DASH)) if part)
        place = f"{self.journal} {where}".strip()
        return f"{names.removesuffix('.')}. {self.title}. {place} ({self.year})."

    def bibtex(self) -> str:
        """Return the BibTeX entry."""
        conference = "Conference" in self.journal
        fields = {
            # Names without a comma are groups, which BibTeX would otherwise split into first and last names.
            "author": " and ".join(
                _tex(name) if _is_person(name) else f"{{{_tex(name)}}}" for name in self.authors
            ),
            # A second pair of braces keeps capitals such as QSM in every bibliography style.
            "title": f"{{{_tex(self.title)}}}",
            "booktitle" if conference else "journal": _tex(self.journal),
            "year": str(self.year),
            "volume": self.volume,
            "pages": self.pages.replace("-", "--"),
            "doi": self.doi,
        }
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items() if value)
        return f"@{'inproceedings' if conference else 'article'}{{{self.key},\n{lines}}}\n"


def _is_person(name: str) -> bool:
    return "," in name or name == "others"


def _tex(value: str) -> str:
    return value.replace("&", r"\&").replace("%", r"\%").replace("_", r"\_")
