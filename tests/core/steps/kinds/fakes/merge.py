from . import act


def run(spec, folder):
    return act("merge", spec, folder)
