def run(spec, folder):
    asked = spec["promotion"]
    challenger = {"version": asked["version"], "fingerprint": "f"}
    name = asked["to"] or asked["name"]
    return {"name": name, "challenger": challenger, "champion": {"version": "1"}, "limits": {}}
