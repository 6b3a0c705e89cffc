"""Model formulas such as `chi ~ group * age + sex`: names, `+`, `:`, `*`, `1` and brackets, and nothing else.

A formula is parsed here and never handed to a library, because those of R and Python evaluate calls in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from qsmxt_app.errors import WrongUsage

LONGEST, DEEPEST, MOST_TERMS = 500, 20, 30
"""Limits of a formula: characters, brackets within brackets, terms."""
EXAMPLE = "Write it as chi ~ group + age + sex; : and * are interactions."

_TOKEN = re.compile(r"\s*(?:(?P<name>[^\W\d][\w.]*)|(?P<number>\d+)|(?P<sign>[+:*()]))")
_SIDES = re.compile(r"\s*([^\W\d]\w*)\s*~(.*)", re.DOTALL)

Term = tuple[str, ...]
"""Variables that a term multiplies; empty for the intercept."""


@dataclass(frozen=True)
class Formula:
    """A formula.

    Attributes
    ----------
    text
        As written.
    measure
        The map whose values are explained.
    terms
        Without the intercept, which every model has; main effects before interactions.
    """

    text: str
    measure: str
    terms: tuple[Term, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of all variables, each once."""
        return tuple(dict.fromkeys(name for term in self.terms for name in term))


def parse_formula(text: str) -> Formula:
    """Parse a formula.

    Raises
    ------
    WrongUsage
        It is not of this form, has no term to test, or an interaction without the effects that it is made of.

    Examples
    --------
    >>> parse_formula("chi ~ group * age + sex").terms
    (('group',), ('age',), ('sex',), ('group', 'age'))
    """
    sides = _SIDES.fullmatch(text)
    if sides is None or len(text) > LONGEST:
        raise WrongUsage(f"--model {_short(text)} is not a formula of at most {LONGEST} characters.", EXAMPLE)
    terms = _Parser(text, _tokens(text, sides[2])).parse()
    ordered = tuple(sorted((term for term in terms if term), key=len))
    if not ordered:
        raise WrongUsage(f"--model {_short(text)} has no variable to test.", EXAMPLE)
    known = {frozenset(term) for term in ordered}
    for term in ordered:
        parts = [(*term[:place], *term[place + 1 :]) for place in range(len(term))]
        if absent := next((part for part in parts if part and frozenset(part) not in known), None):
            raise WrongUsage(
                f"--model {_short(text)} has {':'.join(term)} without {':'.join(absent)}.",
                f"Write {' * '.join(term)}.",
            )
    return Formula(" ".join(text.split()), sides[1], ordered)


def _tokens(text: str, right: str) -> list[str]:
    tokens, place, right = [], 0, right.rstrip()
    while place < len(right):
        match = _TOKEN.match(right, place)
        if match is None or match["number"] not in (None, "1"):
            what = match[0] if match else right[place:].lstrip()[0]
            raise WrongUsage(
                f"--model {_short(text)}: '{what.strip()}' is not allowed in a formula.",
                "It holds names of columns, +, :, *, 1 and brackets.",
            )
        tokens.append(match[0].strip())
        place = match.end()
    return tokens


class _Parser:
    """Recursive descent: `:` binds more closely than `*`, and `*` than `+`."""

    def __init__(self, text: str, tokens: list[str]) -> None:
        self.text, self.tokens, self.place, self.depth = text, tokens, 0, 0

    def parse(self) -> tuple[Term, ...]:
        terms = self._sum()
        if self._next():
            raise self._wrong()
        return terms

    def _sum(self) -> tuple[Term, ...]:
        terms = self._crossing()
        while self._take("+"):
            terms = self._once((*terms, *self._crossing()))
        return terms

    def _crossing(self) -> tuple[Term, ...]:
        terms = self._interaction()
        while self._take("*"):
            other = self._interaction()
            terms = self._once((*terms, *other, *_products(terms, other)))
        return terms

    def _interaction(self) -> tuple[Term, ...]:
        terms = self._atom()
        while self._take(":"):
            terms = self._once(_products(terms, self._atom()))
        return terms

    def _atom(self) -> tuple[Term, ...]:
        if self._take("("):
            self.depth += 1
            if self.depth > DEEPEST:
                raise WrongUsage(f"--model {_short(self.text)} has more than {DEEPEST} nested brackets.")
            terms = self._sum()
            self.depth -= 1
            if not self._take(")"):
                raise self._wrong()
            return terms
        word = self._next()
        if not word or word in "+:*)":
            raise self._wrong()
        self.place += 1
        return ((),) if word == "1" else ((word,),)

    def _once(self, terms: Iterable[Term]) -> tuple[Term, ...]:
        """Keep the first of terms that hold the same variables."""
        found = {frozenset(term): term for term in reversed(tuple(terms))}
        if len(found) > MOST_TERMS:
            raise WrongUsage(f"--model {_short(self.text)} has more than {MOST_TERMS} terms.")
        return tuple(reversed(found.values()))

    def _next(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def _take(self, token: str) -> bool:
        taken = self._next() == token
        self.place += taken
        return taken

    def _wrong(self) -> WrongUsage:
        where = f"before '{self._next()}'" if self._next() else "at its end"
        return WrongUsage(f"--model {_short(self.text)} cannot be understood {where}.", EXAMPLE)


def _products(terms: Iterable[Term], others: Iterable[Term]) -> tuple[Term, ...]:
    others = tuple(others)
    return tuple(tuple(dict.fromkeys((*term, *other))) for term in terms for other in others)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}...'"
