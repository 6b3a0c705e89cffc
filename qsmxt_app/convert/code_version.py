"""The version of the code that converts."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from qsmxt_app.source_graph import package_graph


@cache
def code_digest() -> str:
    """Digest of the code that converts and all that it imports: what another made is made again."""
    state = hashlib.blake2b(digest_size=16)
    for module in sorted(Path(__file__).parent.rglob("*.py")):
        state.update(package_graph().digest(module).encode())
    return state.hexdigest()
