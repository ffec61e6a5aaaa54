"""What a create makes of a spec, remembered by what the spec says.

Most pods repeat the spec of another one under another name: a controller's, or a client's that posts the same body
again. Where nothing but the spec decides (`Kind.spec_decides`), the second of them is neither defaulted nor admitted,
validated nor encoded again: it shares spec and status with the first, and its stored bytes are its metadata between
two pieces that are at hand. Only what was found right is remembered; what is wrong is checked anew each time.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from kubeloop.actors.apiserver.admission import plugins
from kubeloop.actors.apiserver.call import Call

REMEMBERED_MAX = 1024
SPEC_BYTES_MAX = 16 * 1024

_encode = msgspec.json.Encoder().encode


class Outcome:
    """One spec's way through a create.

    `defaulted` is the spec before admission, `spec` and `status` are what is stored; `warnings` are the kind's.
    `head` and `tail` are the stored JSON around the metadata.
    """

    __slots__ = ("admitted_at", "defaulted", "head", "spec", "status", "tail", "warnings")

    def __init__(
        self, defaulted: Any, stored: Any, warnings: tuple[str, ...], admitted_at: int, head: bytes, tail: bytes
    ) -> None:
        self.defaulted = defaulted
        self.spec = stored.spec
        self.status = stored.status
        self.warnings = warnings
        self.admitted_at = admitted_at
        self.head = head
        self.tail = tail

    def encoded(self, metadata: Any) -> bytes | None:
        """The stored form with this metadata; None when there is something in it that codec.encode has to put right."""
        managed_fields = metadata.managed_fields
        if not (type(metadata.owner_references) is type(metadata.finalizers) is type(managed_fields) is tuple):
            return None
        encoded = _encode(metadata)
        if managed_fields and (b":[]" in encoded or b":null" in encoded):
            return None
        return self.head + encoded + self.tail


class Outcomes:
    """The outcomes of one resource, the oldest forgotten first. `checks`: admission's, of objects with a known spec."""

    def __init__(self, checks: Sequence[plugins.CheckPlugin]) -> None:
        self._checks = checks
        self._by_spec: dict[bytes, Outcome] = {}

    def find(self, call: Call, obj: Any, namespace: str) -> tuple[Outcome | None, bytes | None]:
        """The outcome for an object with this spec, admitted to its namespace, and the key to remember one under.

        No key: the object is not to be remembered. Raises StatusError when the namespace or its like refuses it.
        """
        if plugins.looks_beyond_spec(obj):
            return None, None
        key = _encode(obj.spec)
        known = self._by_spec.get(key)
        if known is not None and known.admitted_at == plugins.revision(call):
            plugins.check_remembered(call, obj, known.spec, namespace, self._checks)
            return known, key
        return None, key if len(key) <= SPEC_BYTES_MAX else None

    def remember(self, call: Call, key: bytes, defaulted: Any, stored: Any, warnings: tuple[str, ...]) -> bytes:
        """`stored`: the object as it is about to be written. Returns its stored form."""
        value = call.store.encode(stored)
        metadata = _encode(stored.metadata)
        position = value.find(metadata)
        if position >= 0:
            if len(self._by_spec) >= REMEMBERED_MAX:
                del self._by_spec[next(iter(self._by_spec))]
            head, tail = value[:position], value[position + len(metadata) :]
            self._by_spec[key] = Outcome(defaulted, stored, warnings, plugins.revision(call), head, tail)
        return value
