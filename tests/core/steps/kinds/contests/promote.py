def run(spec, folder):
    asked = spec["promotion"]
    if asked["version"] == "broken":
        raise RuntimeError("the alias would not move")
    told = {"name": asked["to"] or asked["name"], "version": asked["version"], "previous": "1"}
    return {"promoted": None if asked["version"] == "same" else told}
