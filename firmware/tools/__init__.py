"""Commands that fit and check the estimators on recorded cells: CPython and numpy only."""
