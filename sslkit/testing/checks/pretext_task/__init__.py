"""The checks of pretext tasks.

Views are made by chunks in whatever process, a pretraining is resumed from a checkpoint, and only the encoder is kept:
most of the promises are what makes that give the same numbers every time.
"""
