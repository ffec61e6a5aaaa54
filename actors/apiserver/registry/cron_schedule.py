"""Checks cron schedules as the cron library of Kubernetes parses them, with its messages."""

from functools import lru_cache

_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS = {
    name: index
    for index, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_DAYS = {name: index for index, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_NO_NAMES: dict[str, int] = {}
# lowest, highest, names
_FIELDS = ((0, 59, _NO_NAMES), (0, 23, _NO_NAMES), (1, 31, _NO_NAMES), (1, 12, _MONTHS), (0, 6, _DAYS))


class ScheduleError(ValueError):
    """What is wrong with a schedule."""


@lru_cache(1024)
def schedule_error(schedule: str) -> str:
    """What is wrong with a schedule; "" when nothing is."""
    try:
        _check(schedule)
    except ScheduleError as error:
        return str(error)
    return ""


def _check(schedule: str) -> None:
    if schedule.startswith("@"):
        if schedule.startswith("@every "):
            return
        if schedule not in _DESCRIPTORS:
            raise ScheduleError(f"unrecognized descriptor: {schedule}")
        return
    fields = schedule.split()
    if len(fields) != 5:
        raise ScheduleError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    for field, (lowest, highest, words) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            _check_range(part, lowest, highest, words)


def _check_range(part: str, lowest: int, highest: int, words: dict[str, int]) -> None:
    pieces = part.split("/")
    bounds = pieces[0].split("-")
    if bounds[0] in ("*", "?"):
        start, end = lowest, highest
    else:
        start = _number(bounds[0], words)
        end = start
        if len(bounds) == 2:
            end = _number(bounds[1], words)
        elif len(bounds) > 2:
            raise ScheduleError(f"too many hyphens: {part}")
    if len(pieces) == 2:
        if _number(pieces[1], _NO_NAMES) == 0:
            raise ScheduleError(f"step of range should be a positive number: {part}")
        if len(bounds) == 1 and bounds[0] not in ("*", "?"):
            end = highest
    elif len(pieces) > 2:
        raise ScheduleError(f"too many slashes: {part}")
    if start < lowest:
        raise ScheduleError(f"beginning of range ({start}) below minimum ({lowest}): {part}")
    if end > highest:
        raise ScheduleError(f"end of range ({end}) above maximum ({highest}): {part}")
    if start > end:
        raise ScheduleError(f"beginning of range ({start}) beyond end of range ({end}): {part}")


def _number(text: str, words: dict[str, int]) -> int:
    named = words.get(text.lower())
    if named is not None:
        return named
    try:
        number = int(text)
    except ValueError:
        raise ScheduleError(
            f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
        ) from None
    if number < 0:
        raise ScheduleError(f"negative number ({number}) not allowed: {text}")
    return number
