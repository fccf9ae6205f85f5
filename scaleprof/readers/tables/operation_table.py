"""Tables of operations as StragglerAnalysis publishes them: a Parquet file of one job, and a YAML file with its sizes beside it."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from scaleprof.errors import BrokenFile, InputError
from scaleprof.remote import AnyPath
from scaleprof.results import Table

COLUMNS = ("dp_rank", "stage", "rank", "step", "optype", "start_ts", "duration", "seq_id", "mc", "gmc")
SIZES = ("dp_size", "dsp_size", "pp_size", "tp_size", "vpp_size", "world_size")


def read_operation_table(path: AnyPath) -> tuple[Table, dict[str, Any]]:
    """The columns as published (times in s), and what is known of the job: `trial_name` and the sizes. BrokenFile, InputError with what to do."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f"{path.name}: Parquet files are read with pyarrow: pip install 'scaleprof[parquet]'"
        ) from None
    try:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file; `scaleprof stragglers` takes one Parquet file")
        about = _about(path)
        with path.open("rb") as file:
            found = pyarrow.parquet.read_table(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise BrokenFile(path, f"is not a readable Parquet file ({str(error).splitlines()[0]})") from error
    missing = [name for name in COLUMNS if name not in found.column_names]
    if missing:
        raise BrokenFile(path, f"lacks the columns {', '.join(missing)} of an operation table")
    columns = {name: _column(path, name, found.column(name)) for name in COLUMNS}
    if not len(columns["step"]):
        raise BrokenFile(path, "holds no operation")
    return Table(columns), about


def _column(path: AnyPath, name: str, column: Any) -> Any:
    if column.null_count:
        raise BrokenFile(path, f"has {column.null_count:,} empty cells in column {name}")
    if name == "optype":
        return [str(value) for value in column.to_pylist()]
    values = column.to_numpy()
    if not np.issubdtype(values.dtype, np.number):
        raise BrokenFile(path, f"has a column {name} that is no number")
    if not np.isfinite(values).all():
        raise BrokenFile(path, f"has values in column {name} that are no finite number")
    # Times are published as float32, and their sums were formed as such.
    return values.astype(np.float32 if name in ("start_ts", "duration") else np.int64)


def _about(path: AnyPath) -> dict[str, Any]:
    """Of `meta-X.yaml` beside `trace-X.parquet`."""
    import yaml

    beside = path.with_name(f"meta-{path.stem.removeprefix('trace-')}.yaml")
    if not beside.is_file():
        raise InputError(f"{path.name}: {beside.name}, which says how the job was parallel, does not lie beside it")
    try:
        content = yaml.safe_load(beside.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise BrokenFile(beside, f"is not readable YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(content, Mapping):
        raise BrokenFile(beside, "is no list of names with values")
    sizes = {name: content.get(name, 1) for name in SIZES}
    bad = [name for name, size in sizes.items() if not isinstance(size, int) or isinstance(size, bool) or size < 1]
    if bad:
        raise BrokenFile(beside, f"says {bad[0]}: {sizes[bad[0]]!r}, which is no size")
    parts = math.prod(sizes[name] for name in ("dp_size", "dsp_size", "pp_size", "tp_size"))
    if sizes["world_size"] != parts:
        raise BrokenFile(beside, f"says world_size {sizes['world_size']}, but its parts multiply to {parts}")
    return {"trial_name": str(content.get("trial_name", path.stem)), **sizes}
