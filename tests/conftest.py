import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real scanner data; tests that need it are skipped where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("QSMXT_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real scanner data at {folder}: set QSMXT_TEST_DATA")
    return folder
