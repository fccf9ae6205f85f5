"""Finds every run below a path: our own run directories, and foreign trace files, which are grouped into runs by what they say of themselves.

Only heads and tails of foreign files are read here (`Reader.facts_of`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from scaleprof.errors import BrokenFile, InputError, NothingToRead
from scaleprof.readers.base import FileFacts, Reader
from scaleprof.readers.finding.archive import SUFFIXES as ARCHIVES
from scaleprof.readers.finding.archive import is_archive, unpacked
from scaleprof.readers.finding.directory import is_run_directory, run_of_directory
from scaleprof.readers.finding.grouping import Found, grouped, of_each_device
from scaleprof.readers.finding.joining import named_run, with_timelines
from scaleprof.readers.xplane.place import SUFFIXES as XPLANES
from scaleprof.remote import AnyPath, RemotePath, at_once, is_below, matches, walk, without_secrets
from scaleprof.run import RANK_FILE, RUN_FILE, Run, rank_of_folder

_CANDIDATES = (".json", ".json.gz", *XPLANES, *ARCHIVES)
_FEW = 3
_DEPTH = 6


@dataclass
class _Seen:
    """What lies below the paths."""

    directories: list[tuple[AnyPath, int | None]] = field(default_factory=list)
    """Our own run directories; with a rank where the path named only that rank's folder."""
    files: list[AnyPath] = field(default_factory=list)
    named: set[AnyPath] = field(default_factory=set)
    """The files that a path named itself: they must be traces."""
    places: list[str] = field(default_factory=list)
    archives: dict[AnyPath, tuple[str, ...]] = field(default_factory=dict)
    """The folders of archives, and what is to be said of each."""
    broken: list[BrokenFile] = field(default_factory=list)


def find_in(paths: Sequence[AnyPath], run_globs: Sequence[tuple[str, str]], readers: Sequence[Reader]) -> list[Run]:
    """The runs, in order of their paths. Raises NothingToRead where there is none, BrokenFile where all that looked like one is broken."""
    runs: list[Run] = []
    broken: list[InputError] = []
    taken: set[AnyPath] = set()
    for name, pattern in run_globs:
        seen = _look(_matching(pattern))
        if not seen.directories and not seen.files:
            raise NothingToRead(f"--run {name}={pattern}: no trace file matches this pattern")
        broken += seen.broken
        runs += _with_notes(_named_run(name, seen, readers, broken), seen)
        taken.update(path.resolve() for path in (*seen.files, *(folder for folder, _ in seen.directories)))
    seen = _look(paths)
    seen.files = [path for path in seen.files if path.resolve() not in taken]
    seen.directories = [(folder, rank) for folder, rank in seen.directories if folder.resolve() not in taken]
    broken += seen.broken
    runs += _with_notes(_own_runs(seen, broken), seen)
    found = _facts(seen, readers, broken)
    foreign = _with_notes(with_timelines(grouped(found), found), seen)
    runs += _with_broken(foreign, [error for error in broken if isinstance(error, BrokenFile)])
    if runs:
        return _with_own_names(runs)
    places = ", ".join(seen.places) or "the given patterns"
    if broken:
        reasons = "; ".join(str(error) for error in broken[:_FEW])
        more = f"; and {len(broken) - _FEW:,} more" if len(broken) > _FEW else ""
        raise NothingToRead(f"{places}: every file that could be a trace is broken: {reasons}{more}")
    what = (
        "holds no trace" if not seen.files else f"holds {len(seen.files):,} JSON files, but no trace that can be read"
    )
    kinds = "; ".join(reader.recognises for reader in readers)
    raise NothingToRead(f"{places}: {what}: point scaleprof at a folder with one of these: {kinds}")


def _matching(pattern: str) -> list[AnyPath]:
    try:
        return matches(pattern)
    except OSError as error:
        raise NothingToRead(f"{without_secrets(pattern)}: {error.strerror or error}") from error


def _look(paths: Sequence[AnyPath]) -> _Seen:
    seen = _Seen(places=[str(path) for path in paths])
    for path in paths:
        try:
            _look_at(path, seen)
        except OSError as error:  # a folder that may not be listed, a server that does not answer
            raise NothingToRead(f"{path}: {error.strerror or error}") from error
    seen.files = list(dict.fromkeys(seen.files))
    seen.directories = list(dict.fromkeys(seen.directories))
    return seen


def _look_at(path: AnyPath, seen: _Seen) -> None:
    if isinstance(path, RemotePath):
        path.fresh()
    if not path.exists():
        raise NothingToRead(f"{path} does not exist: check the spelling, and that the job wrote its traces there")
    if path.is_file() and path.name in (RUN_FILE, RANK_FILE):
        path = path.parent
    if path.is_file() and is_archive(path):
        _open(path, seen)
    elif path.is_file():
        seen.files.append(path)
        seen.named.add(path)
    elif rank_of_folder(path.name) is not None and (path / RANK_FILE).exists():
        seen.directories.append((path.resolve().parent, rank_of_folder(path.name)))
    else:
        _look_below(path, seen)


def _look_below(top: AnyPath, seen: _Seen) -> None:
    for folder, files in _walk(top):
        if files is None:
            seen.directories.append((folder, None))
            continue
        for file in files:
            if not is_archive(file):
                seen.files.append(file)
            elif not any(is_below(folder, inside) for inside in seen.archives):  # none in another
                _open(file, seen)


def _open(archive: AnyPath, seen: _Seen) -> None:
    """An archive counts as a folder with what is in it."""
    try:
        found = unpacked(archive)
    except BrokenFile as error:
        seen.broken.append(error)
        return
    seen.archives[found.folder] = found.caveats
    _look_below(found.folder, seen)


def _with_notes(runs: list[Run], seen: _Seen) -> list[Run]:
    """The runs out of archives, with what is to be said of these."""
    said = [
        [note for folder, notes in seen.archives.items() if is_below(run.path, folder) for note in notes]
        for run in runs
    ]
    return [replace(run, caveats=(*run.caveats, *notes)) for run, notes in zip(runs, said, strict=True)]


def _walk(top: AnyPath) -> Iterator[tuple[AnyPath, list[AnyPath] | None]]:
    """Each folder below with its candidate files, or with None where it is one of our run directories (and is not entered)."""
    for folder, folders, files in walk(top):
        if is_run_directory(folder):
            folders.clear()
            yield folder, None
            continue
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        files.sort(key=lambda file: file.name)
        yield (
            folder,
            [file for file in files if file.name.lower().endswith(_CANDIDATES) and not file.name.startswith(".")],
        )


def _own_runs(seen: _Seen, broken: list[InputError]) -> list[Run]:
    runs = []
    for folder, rank in seen.directories:
        try:
            runs.append(run_of_directory(folder, rank))
        except InputError as error:
            broken.append(error)
    return runs


def _facts(seen: _Seen, readers: Sequence[Reader], broken: list[InputError]) -> list[Found]:
    found = []
    for path, known in zip(seen.files, at_once(partial(_recognise, readers=readers), seen.files), strict=True):
        if isinstance(known, BrokenFile):
            broken.append(known)
            continue
        reader, facts = known
        if facts is not None:
            found += of_each_device(reader, facts)
        elif path in seen.named:
            broken.append(BrokenFile(path, "is no trace that can be read"))
    return found


def _recognise(path: AnyPath, readers: Sequence[Reader]) -> tuple[str, FileFacts | None] | BrokenFile:
    try:
        for reader in readers:
            facts = reader.facts_of(path) if reader.facts_of else None
            if facts is not None:
                return reader.name, facts
    except BrokenFile as error:
        return error
    return "", None


def _named_run(name: str, seen: _Seen, readers: Sequence[Reader], broken: list[InputError]) -> list[Run]:
    """What a pattern matched, as runs of the given name: its files are one run, whatever they say."""
    runs = [replace(run, info=replace(run.info, name=name)) for run in _own_runs(seen, broken)]
    found = _facts(seen, readers, broken)
    if found:
        runs.append(named_run(name, found))
    return runs


def _with_broken(runs: list[Run], broken: Sequence[BrokenFile]) -> list[Run]:
    """Each broken file as a caveat of the runs beside it."""
    result = []
    for run in runs:
        folders = {trace.parent for rank in run.ranks.values() for trace in rank.traces}
        said = tuple(
            f"{error.path.name} was left out: it {error.reason}" for error in broken if error.path.parent in folders
        )
        result.append(replace(run, caveats=(*run.caveats, *said)))
    return result


def _with_own_names(runs: list[Run]) -> list[Run]:
    """Runs that nothing tells apart (name, world size, repeat) get as much of their path before it as does, or a number."""
    paths = [_path_and_name(run) for run in runs]
    names = [run.info.name for run in runs]
    for depth in range(1, _DEPTH):
        count = Counter(_identity(name, run) for name, run in zip(names, runs, strict=True))
        for place, run in enumerate(runs):
            if count[_identity(names[place], run)] > 1:
                names[place] = "/".join(paths[place][-depth:])
    seen: Counter[object] = Counter()
    for place, run in enumerate(runs):
        same = _identity(names[place], run)
        seen[same] += 1
        if seen[same] > 1:
            names[place] += f" ({seen[same]})"
    return [replace(run, info=replace(run.info, name=name)) for run, name in zip(runs, names, strict=True)]


def _identity(name: str, run: Run) -> object:
    return name, run.info.world_size, run.info.repeat


def _path_and_name(run: Run) -> list[str]:
    """The parts that name a run, from the general to the particular: our own runs and whole folders are named by their folder."""
    parts = list(run.path.resolve().parts[1:])
    recorded = any(files.folder for files in run.ranks.values())
    return parts if recorded or (parts and parts[-1] == run.info.name) else [*parts, run.info.name]
