"""Reading and rewriting video files."""
