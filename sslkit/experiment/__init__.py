"""A run: its plan of independent jobs, what each job does, and what their results say."""
