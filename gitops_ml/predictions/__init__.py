"""What deployments predict, from Prometheus, pods or log files, and whether two of them predict alike."""
