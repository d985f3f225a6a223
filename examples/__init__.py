"""Programs that show pgoxide at work; `make demo` runs the largest of them."""
