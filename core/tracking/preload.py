"""What steps that speak to the registry import besides, two seconds of it: for commands that have some."""

from __future__ import annotations

from ..training.preload import import_those

NAMES = (
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "alembic.command",
    "alembic.autogenerate",
    "cryptography.fernet",
    "mako.template",
    "stepladder.core.steps.record",
    "stepladder.core.steps.register",
    "stepladder.core.steps.contest",
    "stepladder.core.steps.judge",
    "stepladder.core.steps.promote",
)
import_those(*NAMES)
