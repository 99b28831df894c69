from . import act


def run(spec, folder):
    return act("retention", spec, folder)
