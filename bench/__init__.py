"""Measurements of kubeloop: `python -m bench [--quick] [names...]`.

Each workload is a function that does one thing and says how fast it was; what it is called, its unit and its goal
stand in one table (`bench.workloads`). Results are JSON lines in bench/results/, each with the commit, the Python and
the machine. Where there is a peer (a bare server), it is measured in the same run, and the result is the ratio.
"""
