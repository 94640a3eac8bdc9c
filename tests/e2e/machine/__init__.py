"""A cluster, Argo CD, KEDA, a forge and a registry as processes of this machine, from binaries."""
