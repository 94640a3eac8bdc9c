"""Pull requests on GitHub, GitLab, Gitea and Bitbucket: one file a forge."""
