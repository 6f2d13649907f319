#!/usr/bin/env bash
# Hand the triggers and the compiled pipeline to the service on the cluster, and start it again: `make trigger`.
#
#   trigger.sh TRIGGERS PIPELINE
#
#   NAMESPACE   where to (default: kubeflow)
#   PRINT=1     print the ConfigMap in place of applying it; needs no cluster
set -euo pipefail
kubectl="${KUBECTL:-kubectl}"
namespace="${NAMESPACE:-kubeflow}"

render() {
  "$kubectl" create configmap sightline-trigger --namespace "$namespace" --dry-run=client -o yaml \
    --from-file=triggers.yaml="$1" --from-file=train.yaml="$2"
}

if [ -n "${PRINT:-}" ]; then
  render "$1" "$2"
else
  # on the server's side: otherwise an annotation would keep a second copy, and the pipeline is large
  render "$1" "$2" | "$kubectl" apply --server-side --force-conflicts -f -
  # it reads both when it starts; before the first `kubectl apply -k` there is nothing to start
  if [ -n "$("$kubectl" get deployment sightline-trigger --namespace "$namespace" --ignore-not-found -o name)" ]; then
    "$kubectl" rollout restart deployment/sightline-trigger --namespace "$namespace"
  fi
fi
