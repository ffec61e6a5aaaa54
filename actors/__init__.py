"""Kubernetes: one folder a process, and what the processes share (`api`, `client`).

A process knows the others only through the API server and their `messages.py`. `cluster.py` alone knows every actor: it
decides where each runs and in which order they start. What knows no Kubernetes belongs in `runtime` or `store`.
"""
