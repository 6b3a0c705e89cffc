"""Formulas are understood as in R, and hold nothing that could be evaluated."""

import pytest

from qsmxt_app.errors import WrongUsage
from qsmxt_app.group.statistics.formula import DEEPEST, MOST_TERMS, parse_formula


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("chi ~ group + age + sex", [("group",), ("age",), ("sex",)]),
        ("chi~1+group", [("group",)]),
        ("chi ~ a * b * c", [*("abc"), "ab", "ac", "bc", "abc"]),
        ("chi ~ (a + b) * c", ["a", "b", "c", "ac", "bc"]),
        ("chi ~ a + b + a:b", ["a", "b", "ab"]),
        ("chi ~ b:a + a + b", ["a", "b", "ba"]),
        ("chi ~ a + a + (a)", ["a"]),
        ("chi ~ (1 + a):(1 + b)", ["b", "a", "ab"]),
        ("r2star ~ größe + MMSE.2", [("größe",), ("MMSE.2",)]),
    ],
)
def test_terms_are_those_of_r(text: str, terms: list) -> None:
    assert parse_formula(text).terms == tuple(tuple(term) for term in terms)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chi ~ __import__('os').system('id')", "''' is not allowed"),
        ("chi ~ open(name)", "cannot be understood before '\\('"),
        ("chi ~ a.b(c)", "cannot be understood before '\\('"),
        ("chi ~ group[0]", "'\\[' is not allowed"),
        ("chi ~ `a b`", "'`' is not allowed"),
        ("chi ~ a - 1", "'-' is not allowed"),
        ("chi ~ a ** 2", "'2' is not allowed"),
        ("chi ~ 0 + a", "'0' is not allowed"),
        ("chi ~ a; b", "';' is not allowed"),
        ("chi ~ a ~ b", "'~' is not allowed"),
        ("chi ~ a\n+\x00b", "not allowed"),
        ("chi ~ a b", "before 'b'"),
        ("chi ~ (a + b", "at its end"),
        ("chi ~ a +", "at its end"),
        ("chi ~", "at its end"),
        ("chi ~ 1", "no variable to test"),
        ("chi ~ a:b", "a:b without"),
        ("chi", "is not a formula"),
        ("log(chi) ~ a", "is not a formula"),
        ("chi ~ " + "a+" * 300 + "a", "is not a formula of at most"),
        ("chi ~ " + "(" * 200 + "a" + ")" * 200, f"more than {DEEPEST} nested"),
        ("chi ~ " + " * ".join("abcdefghijkl"), f"more than {MOST_TERMS} terms"),
    ],
)
def test_anything_else_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(WrongUsage, match=said) as refused:
        parse_formula(text)
    assert len(str(refused.value).splitlines()) == 1
