"""Grading: behaviors and rubrics, rule graders, the judge, and the identity of all of them."""
