"""Fixtures shared by the core tests."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture
def shared_data():
    """`shared_data("fox")` → folder of a real data set, or the test is skipped where it is absent."""

    def find(name: str) -> Path:
        folder = SHARED_DATA / name
        if not folder.exists():
            pytest.skip(f"real data set '{name}' is not on this machine (looked in {SHARED_DATA})")
        return folder

    return find
