"""HTTP: requests, payloads, streams. The only room with status codes.

A request that cannot be answered raises an error of `errors.py`; `error_replies.py` has its status.
"""
