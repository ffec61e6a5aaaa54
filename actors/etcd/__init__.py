"""etcd, the process: the only one that holds state.

What lives here: the actor that owns a `kubeloop.store` and answers its messages, and `KV`, the protocol in which an API
server speaks to an etcd, this one or a real one. What must not: Kubernetes objects; keys and values are bytes.
"""
