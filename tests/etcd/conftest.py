"""Fixtures that the tests of etcd share."""

from tests.etcd.real_etcd import etcd_of_the_session, our_etcd_of_the_session, real_etcd, real_etcd_cluster

__all__ = ["etcd_of_the_session", "our_etcd_of_the_session", "real_etcd", "real_etcd_cluster"]
