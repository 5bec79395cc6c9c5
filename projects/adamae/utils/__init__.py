"""What any package could use: files, processors."""
