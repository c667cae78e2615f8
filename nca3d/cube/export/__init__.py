"""A cube as a folder that answers questions without its training.

`write.py` writes the folder, with the ONNX model of `graph.py` and the record of `record.py`; `folder.py` loads it.
"""
