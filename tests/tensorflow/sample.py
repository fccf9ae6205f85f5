"""Records the committed sample: `python -m tests.tensorflow.sample FOLDER`, which `make samples-tensorflow` runs."""

import gzip
import sys
from pathlib import Path

from tests.tensorflow.test_tensorflow import run_job


def record(folder: Path) -> None:
    """The job with the late rank, its profiles compressed."""
    run_job("custom_loop", folder)
    for file in sorted(folder.glob("tensorflow-*/rank-*/*.xplane.pb")):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), 9, mtime=0))
        file.unlink()


if __name__ == "__main__":
    record(Path(sys.argv[1]))
