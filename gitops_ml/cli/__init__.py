"""Words to calls, results to words."""
