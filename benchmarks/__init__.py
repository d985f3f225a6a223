"""pgoxide beside its peers and a C floor. Start with README.md; `make bench` runs run.py."""
