"""Why a run on a cluster ended as it did, or does not go on."""
