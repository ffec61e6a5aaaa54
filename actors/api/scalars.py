"""What the generated modules build upon: the base Struct, scalar types, and merge rules.

The markers tell codec what Go does while it decodes: a quantity may come as a number, an int32 has its range.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

import msgspec

Quantity: TypeAlias = Annotated[str, "quantity"]
"""A quantity's text, as "100m" or "1Gi"; see quantity.py."""
IntOrString: TypeAlias = int | str
Time: TypeAlias = Annotated[str, "time"]
"""RFC 3339, whole seconds."""
MicroTime: TypeAlias = Annotated[str, "microtime"]
"""RFC 3339 with six digits of fraction."""
Base64: TypeAlias = Annotated[str, "base64"]
Int32: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
RawObject: TypeAlias = Mapping[str, Any]
"""An object of any type, as builtins."""

if TYPE_CHECKING:
    Items = Sequence
else:

    class Items:
        """A list field: takes any sequence, and is decoded to a tuple, so that what is frozen is so all the way down.

        It also makes what we write (tuples) and what we read back equal.
        """

        def __class_getitem__(cls, item: Any) -> Any:
            return tuple[item, ...]


class Merge(msgspec.Struct, frozen=True):
    """How a field is patched: its x-kubernetes-* marks.

    patch_strategy: of strategic merge patch: "merge", "replace", "retainKeys".
    patch_merge_key: the field that tells a list's items apart.
    list_type ("atomic", "set", "map"), list_map_keys, map_type ("atomic", "granular"): of server-side apply.
    """

    patch_strategy: tuple[str, ...] = ()
    patch_merge_key: str = ""
    list_type: str = ""
    list_map_keys: tuple[str, ...] = ()
    map_type: str = ""


class Object(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True, rename="camel", gc=False
):
    """The base of every generated class. They form trees, never cycles: the garbage collector need not look at them.

    __merge__: JSON name of a field -> Merge, for fields that have marks.
    __required__: JSON names of required fields.
    __atomic__: server-side apply takes the whole as one value.
    API_VERSION and KIND are empty for what is no kind of its own.
    """

    __merge__: ClassVar[Mapping[str, Merge]] = {}
    __required__: ClassVar[tuple[str, ...]] = ()
    __atomic__: ClassVar[bool] = False
    API_VERSION: ClassVar[str] = ""
    KIND: ClassVar[str] = ""
