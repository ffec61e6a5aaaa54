"""Why a pod could not be scheduled, in kube-scheduler's words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from kubeloop.actors.scheduler.framework import Code, Status

NO_NODES = "no nodes available to schedule pods"


class Verdict(msgspec.Struct, frozen=True):
    """One refusal and the rows of the nodes that it is about."""

    status: Status
    rows: Sequence[int]


class Diagnosis(msgspec.Struct, frozen=True):
    """All refusals of one pod: the pod as a whole (``rejection``), or node by node."""

    nodes: int
    rejection: Status | None
    verdicts: tuple[Verdict, ...]

    @property
    def plugins(self) -> tuple[str, ...]:
        """Names of the plugins that refused, each once."""
        statuses = [self.rejection] if self.rejection is not None else [v.status for v in self.verdicts]
        return tuple(dict.fromkeys(status.plugin for status in statuses))

    def rows(self, code: Code) -> list[int]:
        """Rows refused with ``code``."""
        return [row for verdict in self.verdicts if verdict.status.code is code for row in verdict.rows]

    def message(self, post_filter: str = "") -> str:
        """The text of the condition and of the event. ``post_filter`` says what preemption came to."""
        if not self.nodes:
            return NO_NODES
        if self.rejection is not None:
            text = available(self.nodes, ", ".join(self.rejection.reasons))
        else:
            text = available(self.nodes, count((v.status, len(v.rows)) for v in self.verdicts))
        return f"{text} {post_filter}" if post_filter else text


def available(nodes: int, reasons: str) -> str:
    """``0/3 nodes are available: ... .``"""
    return f"0/{nodes} nodes are available: {reasons}."


def count(statuses: Iterable[tuple[Status, int]]) -> str:
    """Reasons with the number of nodes that each holds for, sorted as text, as kube-scheduler does."""
    totals: dict[str, int] = {}
    for status, number in statuses:
        for reason in status.reasons:
            totals[reason] = totals.get(reason, 0) + number
    return ", ".join(sorted(f"{number} {reason}" for reason, number in totals.items()))
