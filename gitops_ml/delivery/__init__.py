"""From planned releases to a commit or pull request: plan, change, push with retry."""
