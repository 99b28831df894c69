def run(spec, folder):
    asked = spec["promotion"]
    challenger = {"version": asked["version"], "fingerprint": "f"}
    return {"name": asked["to"] or asked["name"], "challenger": challenger, "champion": {"version": "1"}}
