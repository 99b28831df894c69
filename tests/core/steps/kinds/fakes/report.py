from . import act


def run(spec, folder):
    return act("report", spec, folder)
