"""What the cube adds to nca3d, by kind and name.

It imports nothing: each entry is "module:name", and is looked up when it is first used.
"""

# nca3d finds this table by looking for `nca3d/*/wing.py`, so that no file outside this folder names the cube.
PROVIDES = {
    "regime": {"answering": "nca3d.cube.regime:ANSWERING"},
    "table": {"cube": "nca3d.cube.regime:CubeFields"},
    "rule": {"gmlp": "nca3d.cube.cell:GMLPRule"},
    "stepper": {"gmlp": "nca3d.cube.executor:STEPPER"},
    "executor": {"event-approx": "nca3d.cube.executor.approx:APPROX"},
    "loss": {name: f"nca3d.cube.losses:{name}" for name in ("surface", "internal", "dialogue", "reconstruction")},
    "default losses": {"signal": "nca3d.cube.losses:DEFAULT_TERMS"},
    "adapter": {
        name: f"nca3d.cube.adapters.{name}:{name.capitalize()}Adapter"
        for name in ("linear", "hierarchical", "autoencoder", "attention")
    },
    "verb": {name: f"nca3d.cube.cli.{name}" for name in ("embed", "answer", "serve")},
    "evaluation verb": {"signal": "nca3d.cube.cli.evaluate:run"},
    "exporter": {"surface": "nca3d.cube.cli.surface"},
    "picture": {"signal": "nca3d.cube.picture:activity"},
    "evaluation": {"signal": "nca3d.cube.evaluation:evaluate_cube"},
    "kept": {"teacher": "nca3d.cube.lesson:TEACHER", "answers.json": "nca3d.cube.lesson:ANSWERS"},
    "report": {"cubes": "nca3d.cube.reports.page:CUBES"},
}
