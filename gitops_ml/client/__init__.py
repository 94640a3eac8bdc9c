"""The Python interface: what `import gitops_ml as gml` offers to notebooks, scripts and programs.

It calls the same actions as the command line, and only shows what they return.
"""

from gitops_ml.client.flows import deploy_from_flow
from gitops_ml.client.opening import client
from gitops_ml.client.results import Api
from gitops_ml.client.verbs import Client

__all__ = ["Api", "Client", "client", "deploy_from_flow"]
