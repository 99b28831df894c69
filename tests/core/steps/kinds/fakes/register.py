from . import act


def run(spec, folder):
    return act("register", spec, folder)
