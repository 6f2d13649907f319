"""Names in a cluster that one part of the code gives, and another looks for."""

GPU = "nvidia.com/gpu"
MAIN = "main"  # the container of a task, beside Argo's own
STAGE = "sightline.ml/stage"  # label of a pod: network policies and alerts select by it
RANK = "rank"  # the stage of a training's other nodes
RUN = "sightline.ml/run"  # label of what a run makes by itself: its id
KFP_RUN = "pipeline/runid"  # Kubeflow Pipelines' own label of a run's pods and workflow
QUEUE = "kueue.x-k8s.io/queue-name"  # label by which Kueue takes a pod or a Job
