"""Python's cyclic garbage collector, while a System runs.

A cluster makes many objects that live long and few cycles: collecting the young ones after every 700 allocations finds
nothing and costs a twentieth of the time. Reference counting frees nearly everything; the thresholds only bound what
cycles may pile up. The first System raises them, the last one puts them back.
"""

import gc

YOUNG_OBJECTS_MAX = 10_000

_systems = 0
_before: tuple[int, int, int] | None = None


def relax() -> None:
    """Collect less often; a process that has set a higher threshold, or none, keeps it. Each call needs a `restore`."""
    global _systems, _before
    _systems += 1
    if _systems == 1 and 0 < gc.get_threshold()[0] < YOUNG_OBJECTS_MAX:
        _before = gc.get_threshold()
        gc.set_threshold(YOUNG_OBJECTS_MAX, *_before[1:])


def restore() -> None:
    """As it was before, unless somebody else has changed it meanwhile."""
    global _systems, _before
    _systems -= 1
    if _systems == 0 and _before is not None:
        if gc.get_threshold()[0] == YOUNG_OBJECTS_MAX:
            gc.set_threshold(*_before)
        _before = None
