"""The parts of the page, in HTML: each a function of the run, escaped by construction."""
