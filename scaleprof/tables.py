"""Reports on a plain table instead of runs: the file is read, its curves are concluded on, and nothing else of the pipeline is needed."""

from collections.abc import Sequence

from scaleprof.analyses.base import many
from scaleprof.analyses.scaling.measured_table import Stated, conclude
from scaleprof.analyses.scaling.study import ScalingOptions
from scaleprof.errors import InputError
from scaleprof.readers.tables.measurements import read_measurements
from scaleprof.remote import AnyPath
from scaleprof.results import Chip, Report, made_now


def predict(
    path: AnyPath,
    *,
    columns: Sequence[tuple[str, str]] = (),
    kind: Stated | None = None,
    target: float | None = None,
    command: str = "",
) -> Report:
    """What a table of measurements says of larger sizes: the sections `overview` and `scaling`, and no run.

    `columns` says what columns are, as (`ranks`, `N`); `kind` what stays constant in all its curves; `target` is the efficiency to hold them against.
    OptionError for a column that there is not and a target that is none, InputError and BrokenFile for a file that holds no such table.
    """
    options = ScalingOptions() if target is None else ScalingOptions(target=target)
    measured = read_measurements(path, columns)
    try:
        sections = conclude(measured.rows, kind, options, name=path.stem)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Report(
        title=path.stem,
        verdict=sections[0].headline,
        runs=(),
        comparison=sections,
        chips=(Chip(many(len(measured.rows), "measurement"), True, "lines of the table"),),
        caveats=measured.caveats,
        made_with=made_now(command),
    )
