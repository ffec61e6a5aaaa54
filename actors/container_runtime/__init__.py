"""The container runtime: starts, watches and stops the containers of one node, when its kubelet says so.

Here live CRI's words (`messages`), the actor that answers them, and one module a backend: `sim` (scripted, no cost) and
`process` (plain host processes). Nothing here knows the API server, restart policies, probes' thresholds or pod status:
those are the kubelet's.
"""
