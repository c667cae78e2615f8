"""Who turns texts into vectors: `teacher.py` (what a teacher is), `tfidf.py` and `transformer.py`, `teachers.py` (one by its
name); `cache.py` keeps what was embedded, `embeddings.py` is the file of `nca3d embed`. transformers and scikit-learn load
inside functions."""
