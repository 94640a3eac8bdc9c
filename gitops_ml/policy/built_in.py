"""The built-in rules. What a manifest or the project file cannot say at all is refused by `release/rules`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_ml.policy.interface import INTERFACE_RULES
from gitops_ml.policy.ownership import OWNERSHIP_RULES

if TYPE_CHECKING:
    from gitops_ml.policy.rule import AnyRule

BUILT_IN: tuple[AnyRule, ...] = (*OWNERSHIP_RULES, *INTERFACE_RULES)
