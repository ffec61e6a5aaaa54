"""The scheduling plugins, one file each; ``registry.py`` lists them in kube-scheduler's order.

A plugin answers for many nodes at once, with a vector, and knows nothing of other plugins. No input, output, clock
or chance in here.
"""
