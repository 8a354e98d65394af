"""Tools of the desk around the firmware: making cell profiles and checking the estimators."""
