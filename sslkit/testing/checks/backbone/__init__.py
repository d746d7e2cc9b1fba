"""The checks of backbones.

A network is built anew for each job, filled with weights from a file, trained, and asked for representations in batches
of whatever size: most of the promises are what makes that give the same numbers every time.
"""
