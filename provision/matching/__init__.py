"""Which hosts fit a request best: match.py is the one door, a pure function from wish and supply to Plan or WhyNot."""
