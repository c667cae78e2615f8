"""Who turns texts into vectors: `teacher.py` (what a teacher is), `tfidf.py` and `transformer.py`, `teachers.py` (one by its
name); `embeddings.py` is the file of `nca3d embed` and the cache of what was embedded. transformers and scikit-learn load
inside functions."""
