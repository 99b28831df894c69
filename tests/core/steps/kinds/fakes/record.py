from . import act


def run(spec, folder):
    return act("record", spec, folder)
