"""How long the tests beside the real etcd run: `KUBELOOP_SOAK=10 make test` runs ten times as many steps, kills, seeds.

Once (the default) is the same run every time; from twice on, chance decides what is tried.
"""

import os

SOAK = int(os.environ.get("KUBELOOP_SOAK", "1"))
