"""What runs: objects, status, logs. Reads the cluster and changes nothing.

A call that reaches a server raises `Refused` where the caller may not ask, and `ServerFailed` where it fails or does
not answer.
"""
