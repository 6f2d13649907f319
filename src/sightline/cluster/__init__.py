"""What we ask of Kubernetes itself, as JSON: its objects, and what an account may do.

api         the way to it, from a pod or from outside
"""

from sightline.cluster.api import Denied, Kubernetes, NotThere, reach

__all__ = ["Denied", "Kubernetes", "NotThere", "reach"]
