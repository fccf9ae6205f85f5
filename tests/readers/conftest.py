"""Real traces from other people's jobs stand outside the project; tests that need them are skipped, visibly, where they are absent."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def foreign_traces() -> Path:
    """The folder of foreign traces: `$SCALEPROF_TRACES`, else one beside the project."""
    stated = os.environ.get("SCALEPROF_TRACES")
    folder = Path(stated) if stated else Path(__file__).parents[3] / "shared" / "traces"
    if not (folder / "kineto").is_dir():
        pytest.skip("no foreign traces here: set SCALEPROF_TRACES to their folder")
    return folder
