"""`make demo`: a year of flights out of New York, loaded and queried through pgoxide.

Read in this order:

- `main.py`: the order of events
- `asynchronous.py`, `blocking.py`: the driver at work, the same things on both faces
- `crowd.py`: a pool under a thousand tasks, and transactions that run again
- `models.py`: the dataclasses that rows become, and a Plan that runs on either face
- `facts.py`: questions answered in SQL
- `data.py`: the tables, and the data set as tuples of Python values
- `report.py`: what is printed, and how
- `__main__.py`: ends with one line instead of a traceback, after Ctrl-C for example

From the root of a clone, `python -m examples.demo` does it by hand.
"""
