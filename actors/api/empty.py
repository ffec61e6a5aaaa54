"""The value of a map field that nobody set."""

from typing import Any, NoReturn, final


@final
class EmptyMap(dict[Any, Any]):
    """An empty dict that stays empty; there is one, EMPTY, and copies and pickles are it again.

    A dict, so that JSON encoders take it; equal to `{}`.
    """

    __slots__ = ()

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("this empty map is shared and cannot change; replace it: structs.replace(obj, field={...})")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def copy(self) -> dict[Any, Any]:
        return {}

    def __copy__(self) -> "EmptyMap":
        return self

    def __deepcopy__(self, memo: Any) -> "EmptyMap":
        return self

    def __reduce__(self) -> str:
        return "EMPTY"


EMPTY = EmptyMap()
