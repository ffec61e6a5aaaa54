"""kube-apiserver: the gateway and gatekeeper, over HTTPS and in process, one chain for both.

What lives here: the chain and its handlers, admission, the watch caches, storage of objects in etcd, content
negotiation, patches, discovery; `registry/` holds what is known of each kind. What must not: controllers, scheduling,
anything that acts on objects by itself.
"""
