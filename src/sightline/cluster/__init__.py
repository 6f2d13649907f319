"""What we ask of Kubernetes itself, as JSON: its objects, and what an account may do.

api         the way to it, from a pod or from outside
ranks       the pods of a training's other nodes, which the pod of the first one starts
rank_job    their Job, made after that pod
pod_words   how a pod is, in words
"""

from sightline.cluster.api import Denied, Kubernetes, NotThere, reach

__all__ = ["Denied", "Kubernetes", "NotThere", "reach"]
