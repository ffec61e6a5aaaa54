"""The only source of time and chance: everybody else asks a Clock."""

import asyncio
import calendar
import random
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

UUIDS_AT_ONCE = 64
_EVERY_UUID = sum(1 << 128 * number for number in range(UUIDS_AT_ONCE))
UUID4_FIXED_BITS = (0x4 << 76 | 0x8 << 60) * _EVERY_UUID  # version 4, variant of RFC 9562
UUID4_RANDOM_BITS = ~((0xF << 76 | 0xC << 60) * _EVERY_UUID)


class Clock:
    """Time and chance of one system.

    seed: of `random` and `uuid4`. None takes the seed of a running virtual-time loop, else the machine's chance.
    epoch: the unix time at which the loop's time is 0, for virtual time; None follows the wall clock.
    """

    __slots__ = ("_epoch", "_text", "_text_second", "_uuids", "random", "seed")

    def __init__(self, seed: int | None = None, epoch: float | None = None) -> None:
        if seed is None:
            seed = getattr(_running_loop(), "seed", None)
        self.seed = seed
        self.random = random.Random(seed)
        self._epoch = epoch
        self._text_second = -1
        self._text = ""
        self._uuids: list[str] = []

    def now(self) -> float:
        """Unix time in seconds."""
        if self._epoch is None:
            return time.time()
        return self._epoch + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        """The running loop's time in seconds; its zero means nothing."""
        return asyncio.get_running_loop().time()

    def now_rfc3339(self) -> str:
        """As metav1.Time is written: `2026-01-01T00:00:00Z`."""
        second = int(time.time()) if self._epoch is None else int(self.now())
        if second != self._text_second:
            self._text_second = second
            self._text = format_rfc3339(second)
        return self._text

    def now_rfc3339_micro(self) -> str:
        """As metav1.MicroTime is written: `2026-01-01T00:00:00.000000Z`."""
        return format_rfc3339_micro(self.now())

    def uuid4(self) -> str:
        """A random UUID (RFC 9562, version 4) from the seeded source."""
        if not self._uuids:
            self._uuids = self._some_uuids()
        return self._uuids.pop()

    def _some_uuids(self) -> list[str]:
        """Made by the dozen: arithmetic of one huge number costs as much as that of one UUID."""
        bits = self.random.getrandbits(128 * UUIDS_AT_ONCE) & UUID4_RANDOM_BITS | UUID4_FIXED_BITS
        digits = f"{bits:0{32 * UUIDS_AT_ONCE}x}"
        return [
            f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-{digits[at + 12 : at + 16]}"
            f"-{digits[at + 16 : at + 20]}-{digits[at + 20 : at + 32]}"
            for at in range(0, len(digits), 32)
        ]

    def reseed(self, salt: str) -> None:
        """`random` and `uuid4` begin another sequence, told by the seed and `salt`. Without a seed nothing happens."""
        if self.seed is not None:
            self.random.seed(f"{self.seed} {salt}")
            self._uuids.clear()

    def stream(self, name: str) -> random.Random:
        """A source of chance of its own, so that who uses it disturbs nobody else's numbers."""
        return random.Random(None if self.seed is None else f"{self.seed} {name}")

    async def sleep(self, delay_seconds: float) -> None:
        await asyncio.sleep(delay_seconds)

    def call_later(self, delay_seconds: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Calls `callback(*args)` after that many seconds of the loop's time; the handle's cancel() calls it off."""
        return asyncio.get_running_loop().call_later(delay_seconds, callback, *args)


def stopwatch_seconds() -> float:
    """Real elapsed time, also in virtual time. Only for measuring how long code takes."""
    return time.perf_counter()


def format_rfc3339(seconds: float) -> str:
    """Unix seconds as `2026-01-01T00:00:00Z`, fractions cut off."""
    return _whole_seconds(int(seconds // 1))


@lru_cache(256)
def _whole_seconds(seconds: int) -> str:
    at = time.gmtime(seconds)
    return f"{at.tm_year:04}" + time.strftime("-%m-%dT%H:%M:%SZ", at)  # Linux pads no year


def format_rfc3339_micro(seconds: float) -> str:
    """Unix seconds as `2026-01-01T00:00:00.000000Z`."""
    whole, micro = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_whole_seconds(whole)[:-1]}.{micro:06d}Z"


def parse_rfc3339(text: str) -> float:
    """Unix seconds of an RFC 3339 time, with any fraction and offset. Raises ValueError for anything else."""
    try:
        if len(text) == 20 and text[19] == "Z":
            return float(calendar.timegm(_date_and_time(text)))
        return _parse_with_fraction_and_offset(text)
    except (ValueError, IndexError):
        raise ValueError(f"{text!r} is not an RFC 3339 time such as 2026-01-01T00:00:00Z") from None


def _parse_with_fraction_and_offset(text: str) -> float:
    seconds = float(calendar.timegm(_date_and_time(text)))
    rest = text[19:]
    if rest[0] == ".":
        digits = rest[1:].rstrip("Zz") if rest[-1] in "Zz" else rest[1:-6]
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(text)
        seconds += int(digits) / 10 ** len(digits)
        rest = rest[1 + len(digits) :]
    if rest in ("Z", "z"):
        return seconds
    sign = {"+": 1, "-": -1}.get(rest[0])
    if sign is None or len(rest) != 6 or rest[3] != ":":
        raise ValueError(text)
    hours, minutes = _number(rest[1:3], 23), _number(rest[4:6], 59)
    return seconds - sign * (hours * 3600 + minutes * 60)


def _date_and_time(text: str) -> tuple[int, int, int, int, int, int]:
    if text[4] != "-" or text[7] != "-" or text[10] not in "Tt" or text[13] != ":" or text[16] != ":":
        raise ValueError(text)
    year, month, day = _number(text[0:4], 9999), _number(text[5:7], 12), _number(text[8:10], 31)
    if not (month >= 1 and 1 <= day <= calendar.monthrange(year or 4, month)[1]):
        raise ValueError(text)
    return year, month, day, _number(text[11:13], 23), _number(text[14:16], 59), _number(text[17:19], 60)


def _number(digits: str, maximum: int) -> int:
    if not (digits.isascii() and digits.isdigit()) or int(digits) > maximum:
        raise ValueError(digits)
    return int(digits)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
