"""The actor machine: actors, supervision, hosts and their network, time, chance, faults, work queues, logs, metrics.

Here lives what any system of message-passing processes needs. Here must not live: a Kubernetes word, a byte of storage,
or an import of `kubeloop.actors` or `kubeloop.store`. Nobody else in kubeloop asks the machine for time or chance.
"""
