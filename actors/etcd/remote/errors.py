"""What a failed call to a member means: a refusal, certainly not done, or perhaps done.

gRPC tells a connection's failure and etcd's refusals by the same codes, so texts decide. etcd's are those of its
`api/v3/rpc/rpctypes`; that a request which found no connection was never sent is gRPC's promise ("failed to connect to
all addresses"), while one that was under way ends in "Stream removed".
"""

from typing import Any

from kubeloop.actors.etcd.messages import CompactedError, EtcdError

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
UNKNOWN_OUTCOME = "etcd may have done it, or not: "

NOT_SENT = ("failed to connect to all addresses", "errors resolving", "DNS resolution failed")
NOT_PROPOSED = (
    "etcdserver: no leader",  # checked before anything else, as every request demands a leader
    "etcdserver: not leader",
    "etcdserver: rpc not supported for learner",
    "etcdserver: too many requests",
    "raft proposal dropped",
)
CONNECTION_CODES = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL")  # INTERNAL: gRPC's own, never etcd's
BROKEN_STREAM = "Stream removed"
TLS_HINTS = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not signed by an authority of ca_file, or for another name",
    "TSI_DATA_CORRUPTED": "it demands a client certificate of an authority that it trusts",
    "security handshaker": "ca_file, cert_file or key_file holds no PEM, or the key is another certificate's",
}


class OutcomeUnknown(EtcdError):
    """A write that may have been done. The code is UNAVAILABLE, as etcd gives it for "request timed out"."""

    def __init__(self, text: str) -> None:
        super().__init__(text if text.startswith("etcdserver: ") else UNKNOWN_OUTCOME + text, "UNAVAILABLE")


def text_of(error: Any) -> str:
    return str(error.details() or error.code().name)


def hint(text: str) -> str:
    """What gRPC means by its words about TLS, in brackets; else nothing."""
    return next((f" ({meaning})" for word, meaning in TLS_HINTS.items() if word in text), "")


def is_certainly_not_done(error: Any) -> bool:
    """Whether the request, if it was a write, has changed nothing and never will."""
    return text_of(error).startswith(NOT_SENT + NOT_PROPOSED)


def is_refusal(error: Any) -> bool:
    """Whether this is an answer: another member would say the same."""
    text = text_of(error)
    if text.startswith((*NOT_PROPOSED, BROKEN_STREAM)):
        return False
    return error.code().name not in CONNECTION_CODES


def refusal(error: Any, compact_revision: int = 0) -> EtcdError:
    """etcd's own text and code."""
    text, code = text_of(error), error.code().name
    return CompactedError(text, code, compact_revision) if text == COMPACTED else EtcdError(text, code)
