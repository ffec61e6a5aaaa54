"""Admission: what the cluster adds to or refuses of a write that is well-formed. One plugin a file, one table.

Named as kube-apiserver's plugins, in its order. No storage, no HTTP.
"""
