"""A real etcd: `KV` over its members, through aetcd's messages and stubs.

What lives here: which member is spoken to, what becomes of requests and watches when members fail. What must not:
a need for gRPC in `options`, which is for whoever only passes them on.
"""
