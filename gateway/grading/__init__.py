"""Grading: evidence from a pack and a profile of rules give a class, a route and the reason."""
