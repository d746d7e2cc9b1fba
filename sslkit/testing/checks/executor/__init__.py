"""What an executor promises.

The checks look at what has come of three short runs of [small jobs][sslkit.testing.jobs]: one in which a job fails,
one that is stopped, and, in a process of its own, one in which jobs are killed.
"""
