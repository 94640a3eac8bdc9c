"""ReleaseSpec: one API in one environment, fully resolved, with its rules and values. Pure."""
