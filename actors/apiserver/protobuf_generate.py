"""Writes protobuf_numbers.py: `python -m kubeloop.actors.apiserver.protobuf_generate BINARY...`.

BINARY: programs for Linux x86-64 in Go that talk to Kubernetes, newest Kubernetes first: kubectl has all groups of its
own version, helm also has apiextensions. Go keeps each struct's fields with their tags in its programs (for reflection)
and Kubernetes' types say there what they are called in JSON and which number they have in protobuf. Only these facts
are taken, for the classes of the object model.

What lies where in a program follows Go's package internal/abi (types Type, StructType, StructField and Name).
"""

import importlib
import re
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from kubeloop.actors.api.scalars import Object

STRUCT_KIND, KIND_MASK = 25, 0x1F
EXTRA_STAR, UNCOMMON = 2, 1  # flags of a type
TAGGED = 2  # flag of a name
STRUCT_BYTES, FIELD_BYTES, FIELDS_MAX = 80, 24, 400
KIND_OFFSET, FLAG_OFFSET, NAME_OFFSET, FIELDS_OFFSET = 23, 20, 40, 56
LOAD, READ_ONLY = 1, 4  # of an ELF segment

GO_PACKAGES = {
    "meta": "k8s.io/apimachinery/pkg/apis/meta",
    "apiextensions": "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions",
}
# in none of these programs (from the group's published types), or without fields
BY_HAND = {
    "apiextensions.v1.CustomResourceSubresourceStatus": "",
    "apiregistration.v1.APIService": "metadata spec status",
    "apiregistration.v1.APIServiceCondition": "type status lastTransitionTime reason message",
    "apiregistration.v1.APIServiceSpec": (
        "service group version insecureSkipTLSVerify caBundle - groupPriorityMinimum versionPriority"
    ),
    "apiregistration.v1.APIServiceStatus": "conditions",
    "apiregistration.v1.ServiceReference": "namespace name port",
}
# never in a body
LEFT_OUT = re.compile(r"meta\.v1\.(API.*|Status.*|WatchEvent|ListMeta|ShardInfo|.*Discovery|ServerAddress.*)|.*List")
HEAD = '''"""Field numbers of Kubernetes' protobuf messages. Written by protobuf_generate.py, not edited by hand.

Facts of the wire format that no JSON schema tells, as Kubernetes 1.36's own programs carry them.
"GROUP.VERSION.Message": the JSON names of its fields in the order of their numbers, from 1; "-" stands for a number
that is not used, "+Message" for a message whose fields lie in its parent in JSON.
"""

from collections.abc import Mapping

NUMBERS: Mapping[str, str] = {
'''


class Program:
    """A Go program's read-only data, in which its types lie."""

    def __init__(self, data: bytes) -> None:
        offset, size, count = (*struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54))
        for index in range(count):
            kind, flags, start, address, _, length = struct.unpack_from("<IIQQQQ", data, offset + index * size)
            if kind == LOAD and flags == READ_ONLY:
                self.base, self.data = address, data[start : start + length]
                return
        raise ValueError("no read-only segment: this is no Go program for Linux")

    def words(self, offset: int, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f"<{count}Q", self.data, offset)

    def name(self, offset: int) -> tuple[str, str]:
        """A name and its tag."""
        text, end = self.text(offset + 1)
        return text, self.text(end)[0] if self.data[offset] & TAGGED else ""

    def text(self, offset: int) -> tuple[str, int]:
        length = shift = 0
        while True:
            byte = self.data[offset]
            offset += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return self.data[offset : offset + length].decode(), offset + length

    def structs(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """("k8s.io/api/core/v1.Pod", [(name of the field, tag)]) of each struct that has a protobuf form."""
        kinds = self.data[KIND_OFFSET::8]
        for found in re.finditer(rb"[\x19\x39\x59\x79]", kinds):
            try:
                fields = list(self.fields(found.start() * 8))
                if any("protobuf:" in tag for _, tag in fields):
                    yield self.type_name(found.start() * 8), fields
            except (IndexError, UnicodeDecodeError, struct.error):
                continue  # no type: bytes that look like one

    def fields(self, offset: int) -> Iterator[tuple[str, str]]:
        start, length, capacity = self.words(offset + FIELDS_OFFSET, 3)
        if length != capacity or not 0 < length <= FIELDS_MAX or not 0 <= start - self.base < len(self.data):
            return
        for index in range(length):
            name, _, _ = self.words(start - self.base + index * FIELD_BYTES, 3)
            if not 0 <= name - self.base < len(self.data):
                return
            yield self.name(name - self.base)

    def type_name(self, offset: int) -> str:
        (at,) = struct.unpack_from("<i", self.data, offset + NAME_OFFSET)
        name = self.name(at)[0].rpartition(".")[2]
        if not self.data[offset + FLAG_OFFSET] & UNCOMMON:
            return name
        (at,) = struct.unpack_from("<i", self.data, offset + STRUCT_BYTES)
        return f"{self.name(at)[0]}.{name}"


def numbered(fields: list[tuple[str, str]]) -> str:
    """The JSON names in the order of their numbers."""
    names: dict[int, str] = {}
    for go_name, tag in fields:
        number = re.search(r'protobuf:"\w+,(\d+)', tag)
        json = re.search(r'json:"([^",]*)', tag)
        if number is not None and json is not None:
            names[int(number[1])] = json[1] or f"+{go_name}"
    return " ".join(names.get(number, "-") for number in range(1, max(names, default=0) + 1))


def model_classes() -> Iterator[tuple[str, str]]:
    """("core.v1.Pod", "k8s.io/api/core/v1.Pod") of each class of the object model."""
    folder = Path(__file__).parent.parent / "api"
    for path in sorted(folder.glob("*_v*.py")):
        module = importlib.import_module(f"kubeloop.actors.api.{path.stem}")
        group, _, version = path.stem.rpartition("_")
        package = f"{GO_PACKAGES.get(group, f'k8s.io/api/{group}')}/{version}"
        for name, cls in sorted(vars(module).items()):
            own = isinstance(cls, type) and issubclass(cls, Object) and cls.__module__ == module.__name__
            if own and not LEFT_OUT.fullmatch(f"{group}.{version}.{name}"):
                yield f"{group}.{version}.{name}", f"{package}.{name}"


def collect(structs: Mapping[str, list[tuple[str, str]]]) -> dict[str, str]:
    """What protobuf_numbers holds. Raises KeyError for a class of the model that is not among `structs`."""
    found = dict(BY_HAND)
    wanted = [pair for pair in model_classes() if pair[0] not in BY_HAND]
    while wanted:
        key, go_name = wanted.pop()
        found[key] = numbered(structs[go_name])
        for inlined in re.findall(r"\+(\w+)", found[key]):
            if f"{key.rpartition('.')[0]}.{inlined}" not in found:
                wanted.append((f"{key.rpartition('.')[0]}.{inlined}", f"{go_name.rpartition('.')[0]}.{inlined}"))
    return found


def entry(key: str, names: str) -> str:
    line = f'    "{key}": "{names}",'
    if len(line) <= 120:
        return line
    rows, room = [""], 106
    for name in names.split():
        if len(rows[-1]) + len(name) > room:
            rows.append("")
        rows[-1] += f"{name} "
    rows[-1] = rows[-1].rstrip()
    return "\n".join([f'    "{key}": (', *(f'        "{row}"' for row in rows), "    ),"])


def main(paths: list[str]) -> None:
    structs: dict[str, list[tuple[str, str]]] = {}
    for path in paths:
        for name, fields in Program(Path(path).read_bytes()).structs():
            structs.setdefault(name, fields)
    lines = [entry(key, names) for key, names in sorted(collect(structs).items())]
    target = Path(__file__).parent / "protobuf_numbers.py"
    target.write_text(HEAD + "\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
