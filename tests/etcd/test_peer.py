"""Random requests are answered by us, and by a dumb model, as by the real etcd: data, revisions, refusals."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kubeloop.store.errors import DuplicateKeyError
from tests.etcd.peer_client import PeerClient, Refused, Request
from tests.etcd.peer_models import DumbPeer, StorePeer
from tests.etcd.peer_requests import requests, settled
from tests.etcd.real_etcd import OurEtcd, RealEtcd
from tests.etcd.soak import SOAK

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
def peers(real_etcd: RealEtcd, our_etcd_of_the_session: OurEtcd) -> Iterator[tuple[PeerClient, PeerClient]]:
    clients = PeerClient(real_etcd.target), PeerClient(our_etcd_of_the_session.target)
    yield clients
    for client in clients:
        client.close()


@compared
@given(drawn=st.lists(requests, min_size=50, max_size=100))
def test_all_answer_as_the_real_etcd(peers: tuple[PeerClient, PeerClient], drawn: list[Request]) -> None:
    """`kubeloop etcd` through the same client, the store in process, and a dumb model."""
    real, ours = peers
    for client in peers:
        client.begin()
    store, dumb = StorePeer(), DumbPeer()
    for request in (settled(request, dumb.dumb.revision) for request in drawn):
        expected = real.do(request)
        assert ours.do(request) == expected, request
        assert store.do(request) == expected, request
        if expected != DUPLICATE_KEY:
            assert dumb.do(request) == expected, request
