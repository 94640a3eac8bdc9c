"""A bare clone: objects, commits, branches, pushes; and the user's checkout.

It does not know what the files of a GitOps repository mean.
"""
