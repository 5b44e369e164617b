"""A real Kubernetes control plane as the judge of the simulated one.

etcd, kube-apiserver, kube-controller-manager (the real HPA), kube-scheduler, kwok (nodes and kubelets)
and the real Karpenter, built from Go modules, run without containers. `build`, `api`, `components`,
`supervisor` and `plane` know nothing of Trimtab; the rest plays a scenario on it and compares.
"""
