"""The object model: what every process says about Kubernetes objects, and nothing that does I/O.

Here live the generated frozen Structs (one module a group and version, see generate.py), their codec, metadata
accessors, quantities, selectors, the table of resources, and Status errors. No actor, no client, no validation rules.
"""
