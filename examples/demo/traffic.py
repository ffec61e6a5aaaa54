"""A steady stream of requests to one web pod, and what became of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec

from kubeloop.runtime.clock import Clock

INTERVAL_SECONDS = 0.02
REQUEST_TIMEOUT_SECONDS = 5.0


class Outcome(msgspec.Struct, frozen=True):
    """One request: when it began (cluster seconds), the node of the database that answered, or what went wrong."""

    began: float
    database_node: str = ""
    database_pod: str = ""
    error: str = ""


async def ask(session: aiohttp.ClientSession, url: str, clock: Clock) -> Outcome:
    began = clock.monotonic()
    try:
        async with session.get(url) as response:
            body: dict[str, Any] = json.loads(await response.read())
    except (OSError, TimeoutError, aiohttp.ClientError) as error:
        return Outcome(began=began, error=f"{type(error).__name__}: {error}")
    if response.status != 200:
        return Outcome(began=began, error=str(body.get("error", response.status)))
    database = body["database"]
    return Outcome(began=began, database_node=database["node"], database_pod=database["pod"])


class Stream:
    """Asks `url` again and again until stopped; `outcomes` grows by one for each request."""

    def __init__(self, url: Callable[[], str], clock: Clock) -> None:
        self.outcomes: list[Outcome] = []
        self._url = url
        self._clock = clock

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                self.outcomes.append(await ask(session, self._url(), self._clock))
                await self._clock.sleep(INTERVAL_SECONDS)

    def answered_by(self, node: str, since: float) -> Outcome | None:
        """The first answer from a database on `node` to a request that began at or after `since`."""
        return next((o for o in self.outcomes if o.began >= since and o.database_node == node), None)

    def lost(self, since: float) -> list[Outcome]:
        return [o for o in self.outcomes if o.began >= since and o.error]
