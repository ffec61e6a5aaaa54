"""The kubelet: registers its node, runs the pods that were bound to it, reports how they are.

Here live the actor, one worker a pod, and the pure decisions beside them: what to do next for a pod (`plan`), its
status (`status`), restarts (`backoff`), environment (`environment`), probes (`probes`), admission, the Node object.
Starting processes is the container runtime's; choosing nodes the scheduler's; evicting the controller manager's.
"""
