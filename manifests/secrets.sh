#!/usr/bin/env bash
# Make the Secrets of the manifests out of the environment: `make secrets`. What a cluster already has and the environment
# does not name is left alone. Values pass through pipes only: never a file, an argument or the output.
#
#   NAMESPACE   where to (default: kubeflow)
#   PRINT=1     print the Secrets, in base64, in place of applying them; needs no cluster
set -euo pipefail
kubectl="${KUBECTL:-kubectl}"
namespace="${NAMESPACE:-kubeflow}"

secrets=(
  "sightline-s3 AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY"
  "sightline-mlflow MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD"
  "sightline-postgres POSTGRES_PASSWORD"
  "sightline-minio MINIO_ROOT_USER MINIO_ROOT_PASSWORD"
  "sightline-trigger SIGHTLINE_TRIGGER_TOKEN"
)

made=() missing=()
for line in "${secrets[@]}"; do
  read -r -a words <<<"$line"
  name="${words[0]}" keys=("${words[@]:1}") absent=()
  for key in "${keys[@]}"; do
    [ -n "${!key:-}" ] || absent+=("$key")
    case "${!key:-}" in *$'\n'*) missing+=("$key has a line break in it: $name cannot hold it") ;; esac
  done
  if [ "${#absent[@]}" -eq 0 ]; then
    made+=("$line")
  elif [ "${#absent[@]}" -lt "${#keys[@]}" ]; then
    missing+=("$name also needs ${absent[*]}")
  fi
done

if [ "${#missing[@]}" -gt 0 ]; then
  printf '%s\n' "${missing[@]}" >&2
  exit 2
fi
if [ "${#made[@]}" -eq 0 ]; then
  echo "the environment holds none of the variables that make a Secret:" >&2
  printf '  %s\n' "${secrets[@]}" >&2
  exit 2
fi

render() { # kubectl takes a key without a value from the environment
  printf '%s\n' "${@:2}" |
    "$kubectl" create secret generic "$1" --namespace "$namespace" --from-env-file=/dev/stdin --dry-run=client -o yaml
}

for line in "${made[@]}"; do
  read -r -a words <<<"$line"
  if [ -n "${PRINT:-}" ]; then
    echo ---
    render "${words[@]}"
  else
    # on the server's side: otherwise an annotation would keep a second copy of the values
    render "${words[@]}" | "$kubectl" apply --server-side --force-conflicts -f -
  fi
done
