"""The flow that evaluates a model: to be started by an event, by a schedule, or by hand."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from ..core.evaluation.table import markdown
from ..core.training.children import WITH_REGISTRY, Children
from .evaluating import HEADERS, evaluate_model, figures, summary


@flow(name="stepladder-evaluate")
def evaluate(model: str, config: str, runs: str = "runs") -> State:
    """Answer the test rows of `config` with `model`, such as models:/NAME/3. Paths are on the worker."""
    children = Children(preload=WITH_REGISTRY)
    try:
        evaluated = evaluate_model(model, Path(config), Path(runs), get_run_logger().info, children)
    finally:
        children.stop()
    said, table = summary(evaluated), markdown(HEADERS, figures(evaluated))
    create_markdown_artifact(f"{said}\n\n{table}\n{evaluated['folder']}\n", key="evaluation")
    return Completed(message=said)
