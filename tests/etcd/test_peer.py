"""Random requests are answered by the store, and by a dumb model, as by the real etcd: data, revisions, refusals."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kubeloop.store.errors import DuplicateKeyError
from tests.etcd.peer_client import PeerClient, Refused, Request
from tests.etcd.peer_models import DumbPeer, StorePeer
from tests.etcd.peer_requests import requests, settled
from tests.etcd.real_etcd import RealEtcd

SOAK = int(os.environ.get("KUBELOOP_SOAK", "1"))
"""How many times as long as usual; more than once, chance decides."""
DUPLICATE_KEY = Refused(DuplicateKeyError.code, DuplicateKeyError.text)

compared = settings(
    max_examples=60 * SOAK,
    deadline=None,
    derandomize=SOAK == 1,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes; KUBELOOP_SHRINK=1 asks for it
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def real(real_etcd: RealEtcd) -> Iterator[PeerClient]:
    client = PeerClient(real_etcd.target)
    yield client
    client.close()


@compared
@given(drawn=st.lists(requests, min_size=50, max_size=100))
def test_the_store_and_the_model_answer_as_etcd(real: PeerClient, drawn: list[Request]) -> None:
    real.begin()
    store, dumb = StorePeer(), DumbPeer()
    for request in (settled(request, dumb.dumb.revision) for request in drawn):
        expected = real.do(request)
        assert store.do(request) == expected, request
        if expected != DUPLICATE_KEY:
            assert dumb.do(request) == expected, request
