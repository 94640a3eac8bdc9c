"""The built-in rules, and their description. What no manifest or project file can say is refused by `release/rules`."""

from __future__ import annotations

from gitops_ml.policy.availability import AVAILABILITY_RULES
from gitops_ml.policy.image_rules import IMAGE_RULES
from gitops_ml.policy.interface import INTERFACE_RULES
from gitops_ml.policy.organisation_rules import ORGANISATION_RULES
from gitops_ml.policy.pod_rules import POD_RULES
from gitops_ml.policy.rule import About, AnyRule
from gitops_ml.policy.source_rules import SOURCE_RULES

BUILT_IN: tuple[AnyRule, ...] = (
    *POD_RULES,
    *IMAGE_RULES,
    *AVAILABILITY_RULES,
    *SOURCE_RULES,
    *ORGANISATION_RULES,
    *INTERFACE_RULES,
)
ENFORCED = {
    "registry-allow-list": "Images outside of `policy.registries` are refused.",
    "policy-requests": "Annotations, labels, tolerations, priority classes, hosts, Secrets, volumes, user ids and "
    "triggers that `policy` does not allow are refused.",
    "gpu-deadlock": "An update that would wait for a GPU that the old replica holds is refused; without a strategy in "
    "the manifest, one that works is chosen.",
    "scale-to-zero": "Zero replicas without anything that wakes the API are refused, and so is a trigger on the API's "
    "own metrics, which do not exist at zero.",
    "unreachable-target": "A target of requests in flight above what a replica takes is refused: it would never scale.",
    "name-length": "Names that would make an object of Kubernetes, KEDA or Argo CD longer than it may be are refused.",
    "secret-by-shape": "A value with the shape of a token, a key or a password in a URL is refused in variables and "
    "configuration of a manifest and in the project file.",
    "uncommitted-files": "A deploy of files that no commit holds to a protected environment is refused, without "
    "--allow-dirty.",
    "prune-limit": "`--prune` removes at most `policy.prune_at_most` releases at a time.",
    "taken-route": "An endpoint that another release serves on the same host is refused.",
    "limits-of-memory": "The schema and the base chart give each container requests, and a limit of memory.",
}
"""What is refused by the checks of documents, independent of `checks` of the project file."""


def describe(rule: About) -> str:
    """What a person needs to know of a rule."""
    return (
        f"{rule.id}: {rule.title}\n\n"
        f"severity  {rule.severity}, unless checks.severities of the project file sets another one\n"
        f"reason    {rule.reason}\n"
        f"remedy    {sentence(rule.remedy)}\n"
        f"page      {rule.page}\n"
    )


def sentence(text: str) -> str:
    """A remedy as a sentence."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
