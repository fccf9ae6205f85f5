"""Perfetto's own format, built with its own package: tracks under their rank, slices that begin and end, chains by flow ids, counters.

It holds what the JSON holds, in ns. A slice's time is exact whatever the length of the run.
"""

from collections.abc import Iterator, Mapping
from typing import IO, Any

from scaleprof.errors import MissingPackage
from scaleprof.export.about import AboutRank, AboutRun
from scaleprof.export.series import Series
from scaleprof.export.shard import Shard
from scaleprof.export.tracks import Track

_TRACKS_OF_RANK = 1 << 20
_FIELDS: Mapping[type, str] = {int: "int_value", float: "double_value", str: "string_value", bool: "bool_value"}


class PerfettoWriter:
    """Writes ranks one after the other; each is a sequence of packets of its own."""

    def __init__(self, file: IO[bytes]) -> None:
        try:
            from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as messages
            from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder
        except ImportError as error:
            raise MissingPackage("perfetto", "perfetto", "writing Perfetto's own format") from error
        self._file, self._messages = _Counting(file), messages
        self._builder = StreamingTraceProtoBuilder(self._file)

    def begin(self, about: AboutRun) -> None:
        """Before the first rank."""

    def rank(self, about: AboutRank, shard: Shard) -> int:
        """All of one rank; how many bytes that are."""
        before = self._file.written
        group = about.pid * _TRACKS_OF_RANK
        packet = self._packet(about)
        packet.sequence_flags = self._messages.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        packet.track_descriptor.uuid = group
        packet.track_descriptor.sibling_order_rank = about.rank
        packet.track_descriptor.process.pid = about.pid
        packet.track_descriptor.process.process_name = about.name
        packet.track_descriptor.process.process_labels.extend([_letters(about.labels)] if about.labels else [])
        packet.track_descriptor.child_ordering = self._messages.TrackDescriptor.EXPLICIT
        self._builder.write_packet(packet)
        for place, track in enumerate(shard.tracks):
            self._track(about, track, group + 1 + place, place)
        for place, series in enumerate(shard.series, len(shard.tracks)):
            self._series(about, series, group + 1 + place, place)
        return self._file.written - before

    def end(self, about: AboutRun) -> None:
        """After the last rank. The format has no place for what a file says of itself."""

    def _packet(self, about: AboutRank) -> Any:
        packet = self._builder.create_packet()
        packet.trusted_packet_sequence_id = about.pid
        return packet

    def _described(self, about: AboutRank, uuid: int, name: str, place: int) -> Any:
        """A packet that describes a track of a rank."""
        packet = self._packet(about)
        packet.track_descriptor.uuid = uuid
        packet.track_descriptor.parent_uuid = about.pid * _TRACKS_OF_RANK
        packet.track_descriptor.name = _letters(name)
        packet.track_descriptor.sibling_order_rank = place
        return packet

    def _track(self, about: AboutRank, track: Track, uuid: int, place: int) -> None:
        self._builder.write_packet(self._described(about, uuid, track.label, place))
        kinds = self._messages.TrackEvent
        for at, time in _edges(track):
            packet = self._packet(about)
            packet.timestamp, packet.track_event.track_uuid = time, uuid
            packet.track_event.type = kinds.TYPE_SLICE_END if at is None else kinds.TYPE_SLICE_BEGIN
            if at is not None:
                self._begun(packet, track, at)
            self._builder.write_packet(packet)

    def _begun(self, packet: Any, track: Track, at: int) -> None:
        """What a slice is called, what is known of it, and what it is tied to."""
        event = packet.track_event
        name, category = track.texts[int(track.name[at])]
        event.name = _letters(name)
        event.categories.append(_letters(category))
        for name, value in track.args.get(at, {}).items():
            said = event.debug_annotations.add()
            said.name = name
            setattr(said, _FIELDS[type(value)], _letters(value) if isinstance(value, str) else value)
        if at in track.ties:
            event.flow_ids.append(track.ties[at].operation + 1)

    def _series(self, about: AboutRank, series: Series, uuid: int, place: int) -> None:
        packet = self._described(about, uuid, series.name, place)
        packet.track_descriptor.counter.unit_name = series.unit
        self._builder.write_packet(packet)
        for time, value in zip(series.time_ns.tolist(), series.values.tolist(), strict=True):
            packet = self._packet(about)
            packet.timestamp, packet.track_event.track_uuid = time, uuid
            packet.track_event.type = self._messages.TrackEvent.TYPE_COUNTER
            packet.track_event.double_counter_value = value
            self._builder.write_packet(packet)


def _letters(text: str) -> str:
    """The text with a mark in place of halves of letters, which the format cannot hold."""
    return text.encode(errors="replace").decode()


class _Counting:
    """A file that knows how much was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.written = file, 0

    def write(self, content: bytes) -> int:
        """As a file does."""
        self.written += len(content)
        return self._file.write(content)


def _edges(track: Track) -> Iterator[tuple[int | None, int]]:
    """Beginnings (a slice's place) and ends (None) with their times, as brackets that match: slices of one time by their order in the track, and of
    those without length each inside the one before, as viewers read the JSON."""
    open_slices: list[tuple[int, int]] = []
    for place, (start, end) in enumerate(zip(track.start.tolist(), track.end.tolist(), strict=True)):
        while open_slices and open_slices[-1][1] <= start and open_slices[-1][0] < start:
            yield None, open_slices.pop()[1]
        yield place, start
        open_slices.append((start, end))
    while open_slices:
        yield None, open_slices.pop()[1]
