"""Commands of the desk that fit and check the estimators on recorded cells (CPython, numpy)."""
