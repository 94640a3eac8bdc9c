"""The Helm values of a release."""
