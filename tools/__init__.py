"""What the Makefile runs before anything is installed, and the book's generated pages."""
