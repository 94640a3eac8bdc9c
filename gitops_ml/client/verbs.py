"""The client: Cortex's names and signatures, our verbs."""

from __future__ import annotations

from gitops_ml.client.deploying import Deploying
from gitops_ml.client.local import Local
from gitops_ml.client.running import Running
from gitops_ml.client.standing import Standing


class Client(Deploying, Standing, Running, Local):
    """The verbs for one environment of a project; `gml.client(…)` makes one."""
