from . import act, quarantine


def run(spec, folder):
    quarantine(folder)
    return act("read", spec, folder)
