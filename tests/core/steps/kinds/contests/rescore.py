def run(spec, folder):
    return {"needed": sorted(spec["needs"])}
