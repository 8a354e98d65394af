"""What runs on Linux: collecting, publishing and grading packs, and the command echelon."""
