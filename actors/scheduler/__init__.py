"""kube-scheduler: decides the node of each pod, nothing else.

What lives here: the queue of waiting pods, the columnar picture of the cluster, the framework with its plugins
(one file each in ``plugins/``), and the actor that feeds them from informers and writes bindings.

What must not: anything that runs, creates or deletes workloads. The single exception is preemption, which deletes
pods of lower priority, as kube-scheduler does.

Everything but ``actor.py`` is synchronous and free of input and output, so that it can be tested on data.
numpy is imported by ``cache.py`` and what uses it; ``actor.py`` imports those when the first pod waits.
"""
