"""KFP component of the stage validate. Its inputs are the pipeline's parameters."""

from typing import Any, NamedTuple  # the spelled-out form is the one KFP reads

from kfp import dsl

from components import images
from components._parameters import written_out


@dsl.component(base_image=images.DATA, install_kfp_package=False)
@written_out
def validate(
    dataset: dsl.Output[dsl.Dataset],
    data_report: dsl.Output[dsl.HTML],
    **parameters: Any,
) -> NamedTuple(
    "Resolved",
    [
        ("snapshot", str),
        ("weights", str),
        ("train_config", str),
        ("export_config", str),
        ("gate_config", str),
        ("sample_config", str),
        ("train_code", str),
        ("infer_code", str),
        ("verdict", str),
        ("train_node_selector", dict),
        ("train_tolerations", list),
    ],
):
    """Check data, weights and configuration, and turn the data into a content-addressed snapshot.

    Args:
        dataset: The data report, what passed, and where it lies.
        data_report: The data report as a page.
        **parameters: Those of the pipeline.

    Returns:
        snapshot: URI of the snapshot.
        weights: The pinned weights with their digest, or an architecture.
        train_config: Resolved training configuration.
        export_config: Resolved configuration of the export.
        gate_config: Resolved minimums of the score gate.
        sample_config: Resolved configuration of the gallery.
        train_code: Digest of what trains and exports: Sightline's source and package versions.
        infer_code: Digest of what evaluates: Sightline's source and package versions.
        verdict: `accepted`, `refused` or `unchanged`.
        train_node_selector: Labels of the nodes on which training may run.
        train_tolerations: Taints of nodes that training bears.
    """
    from sightline import tasks

    return tasks.validate(
        dataset=dataset,
        page=data_report.path,
        **parameters,
    )
