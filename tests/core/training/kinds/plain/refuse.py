from stepladder.core.errors import DataError


def run(spec, folder):
    raise DataError("train.jsonl: 9 of 10 rows are bad")
