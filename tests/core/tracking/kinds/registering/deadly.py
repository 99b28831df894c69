"""An MLflow client that kills its process with SIGKILL before or after the n-th of its writes."""

import os
import signal

from mlflow import MlflowClient

WRITES = (
    "create_registered_model",
    "_create_model_version",  # which `create_model_version` and `mlflow.register_model` call
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "set_registered_model_tag",
    "delete_registered_model_tag",
    "set_model_version_tag",
    "delete_model_version_tag",
    "delete_model_version",
)


def arm(number, when):
    """From now on; writes are counted from 1. `when` is "before" or "after"; number 0 lets it live."""
    done = [0]

    def deadly(write):
        def call(*args, **kwargs):
            done[0] += 1
            if (done[0], when) == (number, "before"):
                os.kill(os.getpid(), signal.SIGKILL)
            answer = write(*args, **kwargs)
            if (done[0], when) == (number, "after"):
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return call

    for name in WRITES:
        setattr(MlflowClient, name, deadly(getattr(MlflowClient, name)))
    return done
