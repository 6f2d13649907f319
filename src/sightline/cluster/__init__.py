"""What we ask of Kubernetes itself, as JSON: its objects, and what an account may do.

api         the way to it, from a pod or from outside; there by the kubeconfig (`kubeconfig`)

Whether a namespace can do a run, as findings of a line each (`findings`), asked at the same time (`questions`):

needs       what a task's pod asks for; in exact amounts (`amounts`)
placement   whether a node could take it, and could now; with `taints`, and pools that grow (`growth`)
limits      what LimitRanges let in, and add;  quotas   what ResourceQuotas let in
namespace   the namespace, its Pod Security, runtime class and claims
account     the service account, and what it may do
settings    which settings and secrets reach tasks
job         a Job that answers from inside, and is always removed
ranks       the pods of a training's other nodes, which the pod of the first one starts
rank_job    their Job, made after that pod
pod_words   how a pod is, in words
"""

from sightline.cluster.api import Denied, Kubernetes, NotThere, reach

__all__ = ["Denied", "Kubernetes", "NotThere", "reach"]
