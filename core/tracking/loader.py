"""The code inside every registered model: it loads what lies beside it. Its hash is a tag of the version."""

from pathlib import Path

import pandas  # type: ignore[import-untyped]
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Candidate(PythonModel):  # type: ignore[misc]  # mlflow gives no types
    def load_context(self, context):  # type: ignore[no-untyped-def]
        from stepladder.core.package.served import load_served

        self.served = load_served(Path(context.artifacts["served"]))

    def predict(self, context, model_input: pandas.DataFrame, params=None):  # type: ignore[no-untyped-def]
        return self.served.answer(model_input.to_dict("records"))


set_model(Candidate())
