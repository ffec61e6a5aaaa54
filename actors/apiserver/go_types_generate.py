"""Writes controller_manager/go_types.py: `python -m kubeloop.actors.apiserver.go_types_generate BINARY`.

BINARY is a kubectl for Linux x86-64. The types in it are read as protobuf_generate.py reads them; here what counts
 is in which order a struct has its fields and what Go calls them and their types.
"""

import re
import struct
import sys
from pathlib import Path

from kubeloop.actors.apiserver.protobuf_generate import (
    EXTRA_STAR,
    FIELD_BYTES,
    FIELDS_OFFSET,
    FLAG_OFFSET,
    KIND_MASK,
    KIND_OFFSET,
    NAME_OFFSET,
    STRUCT_KIND,
    Program,
)

ROOT = "k8s.io/api/core/v1.PodTemplateSpec"
MAP_KIND, POINTER_KIND, SLICE_KIND = 21, 22, 23
BASIC = {1: "bool", 5: "int32", 6: "int64", 7: "uint", 10: "uint32", 11: "uint64", 24: "string"}
ELEMENT_OFFSET, VALUE_OFFSET = 48, 56  # in the types of pointers, slices and maps
LEFT_OUT = ("time.Location", "v1.FieldsV1")  # behind pointers that are never set
# in Kubernetes 1.36, and not yet in the kubectl this was run with (1.33): after which field (from the published types)
NEWER = {
    "v1.Container": (("RestartPolicy:*v1.ContainerRestartPolicy", "RestartPolicyRules:[]v1.ContainerRestartRule"),),
    "v1.EnvVarSource": (("SecretKeyRef:*v1.SecretKeySelector", "FileKeyRef:*v1.FileKeySelector"),),
    "v1.PodSpec": (
        (
            "Resources:*v1.ResourceRequirements",
            "HostnameOverride:*string SchedulingGroup:*v1.PodSchedulingGroup",
        ),
    ),
    "v1.VolumeProjection": (
        ("ClusterTrustBundle:*v1.ClusterTrustBundleProjection", "PodCertificate:*v1.PodCertificateProjection"),
    ),
}
NEWER["v1.EphemeralContainerCommon"] = NEWER["v1.Container"]
NEW_TYPES = {
    "v1.ContainerRestartRule": ("Action:v1.ContainerRestartRuleAction ExitCodes:*v1.ContainerRestartRuleOnExitCodes"),
    "v1.ContainerRestartRuleAction": "string",
    "v1.ContainerRestartRuleOnExitCodes": "Operator:v1.ContainerRestartRuleOnExitCodesOperator Values:[]int32",
    "v1.ContainerRestartRuleOnExitCodesOperator": "string",
    "v1.FileKeySelector": "VolumeName:string Path:string Key:string Optional:*bool",
    "v1.PodCertificateProjection": (
        "SignerName:string KeyType:string MaxExpirationSeconds:*int32 CredentialBundlePath:string KeyPath:string "
        "CertificateChainPath:string UserAnnotations:map[string]string"
    ),
    "v1.PodSchedulingGroup": "PodGroupName:*string",
}
HEAD = '''"""Go's types of a pod template. Written by go_types_generate.py, not edited by hand.

Facts that no JSON schema tells, as Kubernetes 1.36's own programs carry them. A struct is its fields in order, each
`Name:type`, or `Name/jsonName:type` where the JSON name is not the Go name with a small first letter: none at all if
its fields lie in their parent in JSON. Any other named type is what it is made of.
"""

from collections.abc import Mapping

TYPES: Mapping[str, str] = {
'''


class Types(Program):
    """Go's types, from one on to all it is made of; `found` is what go_types.py holds."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.found: dict[str, str] = {}

    def root(self) -> int:
        for match in re.finditer(rb"[\x19\x39\x59\x79]", self.data[KIND_OFFSET::8]):
            try:
                if any(self.fields(match.start() * 8)) and self.type_name(match.start() * 8) == ROOT:
                    return match.start() * 8
            except (IndexError, UnicodeDecodeError, struct.error):
                continue  # no type: bytes that look like one
        raise ValueError(f"{ROOT} is not in this program")

    def said(self, offset: int) -> str:
        """What Go says a type is called: v1.PodSpec, *int64, []string."""
        (at,) = struct.unpack_from("<i", self.data, offset + NAME_OFFSET)
        name = self.name(at)[0]
        return name[1:] if self.data[offset + FLAG_OFFSET] & EXTRA_STAR else name

    def at(self, offset: int) -> int:
        return int(self.words(offset, 1)[0] - self.base)

    def follow(self, offset: int) -> str:
        name, kind = self.said(offset), self.data[offset + KIND_OFFSET] & KIND_MASK
        if name in self.found or name in LEFT_OUT:
            return name
        if kind == STRUCT_KIND:
            self.found[name] = ""
            self.found[name] = " ".join(self.members(offset))
        elif kind in (POINTER_KIND, SLICE_KIND, MAP_KIND):
            made_of = self.follow(self.at(offset + ELEMENT_OFFSET))
            if kind == MAP_KIND:
                made_of = f"map[{made_of}]{self.follow(self.at(offset + VALUE_OFFSET))}"
            else:
                made_of = f"{'*' if kind == POINTER_KIND else '[]'}{made_of}"
            if made_of != name:
                self.found[name] = made_of
        elif BASIC.get(kind) != name:
            self.found[name] = BASIC[kind]
        return name

    def members(self, offset: int) -> list[str]:
        start, length, _ = self.words(offset + FIELDS_OFFSET, 3)
        shown = []
        for index in range(length):
            name_at, type_at, _ = self.words(start - self.base + index * FIELD_BYTES, 3)
            name, tag = self.name(name_at - self.base)
            json = re.search(r'json:"([^",]*)', tag)
            renamed = json is not None and json[1] != f"{name[0].lower()}{name[1:]}"
            shown.append(f"{name}{f'/{json[1]}' if json and renamed else ''}:{self.follow(type_at - self.base)}")
        return shown


def entry(name: str, definition: str) -> str:
    line = f'    "{name}": "{definition}",'
    if len(line) <= 120:
        return line
    rows = [""]
    for part in definition.split():
        if len(rows[-1]) + len(part) > 106:
            rows.append("")
        rows[-1] += f"{part} "
    rows[-1] = rows[-1].rstrip()
    return "\n".join([f'    "{name}": (', *(f'        "{row}"' for row in rows), "    ),"])


def main(path: str) -> None:
    types = Types(Path(path).read_bytes())
    types.follow(types.root())
    for name, more in NEWER.items():
        for after, added in more:
            if added not in types.found[name]:
                types.found[name] = types.found[name].replace(after, f"{after} {added}")
    for name, definition in NEW_TYPES.items():
        types.found.setdefault(name, definition)
    lines = [entry(name, definition) for name, definition in sorted(types.found.items())]
    (Path(__file__).parent.parent / "controller_manager" / "go_types.py").write_text(
        HEAD + "\n".join(lines) + "\n}\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main(sys.argv[1])
