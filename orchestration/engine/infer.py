def infer(*a, **k): raise NotImplementedError
