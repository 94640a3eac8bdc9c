"""The verbs of gitops-ml, each told once from start to end.

What a verb needs from the outside comes in as `gitops_ml.delivery.plan.Tools`; what it found goes out as a
value. Nothing is printed here. A module for each subject, imported by whoever needs it: the command
line answers before the rest has been looked at.
"""
