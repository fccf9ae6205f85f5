"""The messages of XPlane files and of the HLO modules in them, made at run time from a table of fields: no TensorFlow, nothing generated.

Only what is read stands here; protobuf passes over all other fields. Texts are bytes, because a file may hold any.
"""

from functools import cache
from typing import Any

from scaleprof.errors import MissingPackage

_INT, _UINT, _DOUBLE, _BYTES = "int64", "uint64", "double", "bytes"
_MANY, _ONE_OF = "repeated ", "value "
_TABLE = {
    "Stat": (
        ("metadata_id", 1, _INT),
        ("double_value", 2, _ONE_OF + _DOUBLE),
        ("uint64_value", 3, _ONE_OF + _UINT),
        ("int64_value", 4, _ONE_OF + _INT),
        ("str_value", 5, _ONE_OF + _BYTES),
        ("bytes_value", 6, _ONE_OF + _BYTES),
        ("ref_value", 7, _ONE_OF + _UINT),
    ),
    "Event": (
        ("metadata_id", 1, _INT),
        ("offset_ps", 2, _INT),
        ("duration_ps", 3, _INT),
        ("stats", 4, _MANY + "Stat"),
        ("num_occurrences", 5, _INT),
    ),
    "Line": (
        ("id", 1, _INT),
        ("name", 2, _BYTES),
        ("timestamp_ns", 3, _INT),
        ("events", 4, _MANY + "Event"),
        ("display_name", 11, _BYTES),
    ),
    "Named": (("id", 1, _INT), ("name", 2, _BYTES), ("stats", 5, _MANY + "Stat")),
    "Entry": (("key", 1, _INT), ("value", 2, "Named")),
    "Shape": (("element_type", 2, _INT), ("dimensions", 3, _MANY + _INT), ("tuple_shapes", 4, _MANY + "Shape")),
    "ReplicaGroup": (("replica_ids", 1, _MANY + _INT),),
    "Instruction": (
        ("name", 1, _BYTES),
        ("opcode", 2, _BYTES),
        ("shape", 3, "Shape"),
        ("id", 35, _INT),
        ("operand_ids", 36, _MANY + _INT),
        ("replica_groups", 49, _MANY + "ReplicaGroup"),
    ),
    "Computation": (("instructions", 2, _MANY + "Instruction"),),
    "Module": (("name", 1, _BYTES), ("computations", 3, _MANY + "Computation")),
    "Hlo": (("hlo_module", 1, "Module"),),
}
"""Message -> (field, number, type); `Named` is the metadata of events and of stats, `Entry` an entry of either map."""
_PACKAGE = "scaleprof"


@cache
def messages() -> dict[str, Any]:
    """The classes by the names in the table. MissingPackage where protobuf is not installed."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise MissingPackage("protobuf", "protobuf", "reading XPlane files (TensorFlow, JAX)") from error
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="xplane.proto", package=_PACKAGE, syntax="proto2")
    for name, table in _TABLE.items():
        message = file.message_type.add(name=name)
        for field, number, said in table:
            many, one_of = said.startswith(_MANY), said.startswith(_ONE_OF)
            type_name = said.removeprefix(_MANY).removeprefix(_ONE_OF)
            made = message.field.add(name=field, number=number)
            made.label = kinds.LABEL_REPEATED if many else kinds.LABEL_OPTIONAL
            if type_name in _TABLE:
                made.type, made.type_name = kinds.TYPE_MESSAGE, f".{_PACKAGE}.{type_name}"
            else:
                made.type = getattr(kinds, f"TYPE_{type_name.upper()}")
            if one_of:
                if not message.oneof_decl:
                    message.oneof_decl.add(name="value")
                made.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _TABLE}
