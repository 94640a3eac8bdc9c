"""The built-in rules. What a manifest or the project file cannot say at all is refused by `release/rules`."""

from __future__ import annotations

from gitops_ml.policy.availability import AVAILABILITY_RULES
from gitops_ml.policy.hidden_code import HIDDEN_CODE_RULES
from gitops_ml.policy.image_rules import IMAGE_RULES
from gitops_ml.policy.interface import INTERFACE_RULES
from gitops_ml.policy.limit_rules import LIMIT_RULES
from gitops_ml.policy.ownership_rules import OWNERSHIP_RULES
from gitops_ml.policy.pod_security import POD_SECURITY_RULES
from gitops_ml.policy.process_rules import PROCESS_RULES
from gitops_ml.policy.resource_rules import RESOURCE_RULES
from gitops_ml.policy.rule import AnyRule
from gitops_ml.policy.secrets import SECRET_RULES

BUILT_IN: tuple[AnyRule, ...] = (
    *POD_SECURITY_RULES,
    *IMAGE_RULES,
    *RESOURCE_RULES,
    *AVAILABILITY_RULES,
    *SECRET_RULES,
    *HIDDEN_CODE_RULES,
    *OWNERSHIP_RULES,
    *LIMIT_RULES,
    *INTERFACE_RULES,
    *PROCESS_RULES,
)
