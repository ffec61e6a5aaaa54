"""The kube-proxy: on one node, takes connections to services to a pod that serves them, on this node first.

Here live the actor, the routing decision (`tables`, pure), the names of services (`names`, pure), and the forwarding of
real TCP without root (`forwarder`). Endpoints are the endpointslice controller's; pods are the kubelet's.
"""
