"""What runs: objects, status, logs. Reads the cluster and changes nothing."""
