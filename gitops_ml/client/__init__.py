"""The Python API of `import gitops_ml as gml`: `Client`, its results and their cards.

It calls the same verbs as the command line, shows what they return, and decides nothing.
"""

from gitops_ml.client.api_client import Client
from gitops_ml.client.flows import deploy_from_flow
from gitops_ml.client.opening import client
from gitops_ml.client.results import Api

__all__ = ["Api", "Client", "client", "deploy_from_flow"]
