"""What files from elsewhere may hold."""

from __future__ import annotations

from hypothesis import strategies as st

PIECES = (
    "../",
    "/etc/passwd",
    "..",
    "\x1b]0;title\x07",
    "\x1b[2J",
    "\x9b31m",
    "\u202etxt",
    "\r",
    "\n",
    "\t",
    "\x00",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "' --out=/",
    '"',
    "'",
    "\\",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>",
    "{{ 7*7 }}",
    "{% raw %}",
    "[red]",
    "[link=file:///]x[/link]",
    "=cmd|' /C calc'!A0",
    "%s%n",
    "sub-01",
    "é",
    "😀",
    "\ud800",
    "-rf",
    "*",
)

texts = st.lists(
    st.one_of(st.sampled_from(PIECES), st.text(st.characters(), max_size=8)), min_size=1, max_size=4
).map("".join)
"""Any text, with what is meant to do harm more often than by chance."""

file_names = texts.map(
    lambda text: "".join(char for char in text if char not in "/\x00" and not "\ud800" <= char <= "\udfff")[
        :60
    ]
).filter(lambda name: name not in {"", ".", ".."})
"""What a file can be called."""

json_values = st.recursive(
    st.one_of(
        texts, st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from([1e308, -0.0, 10**400])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3), st.lists(inner).map(tuple)
    ),
    max_leaves=6,
)
