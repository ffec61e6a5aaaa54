"""etcd's v3 gRPC API, served: an HTTP/2 layer, gRPC over it, the services, and HTTP/1.1 beside them on the same port.

What lives here: everything between a socket and the actor's answers. What must not: state of its own.
"""
