"""The client: Cortex's names and signatures, our verbs."""

from __future__ import annotations

from gitops_ml.notebook.deploying import Deploying
from gitops_ml.notebook.local import Local
from gitops_ml.notebook.running import Running
from gitops_ml.notebook.standing import Standing


class Client(Deploying, Standing, Running, Local):
    """The verbs for one environment of a project; `gml.client(…)` makes one."""
