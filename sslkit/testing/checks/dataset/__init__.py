"""What a data set promises.

The checks look at a few of its images, evenly drawn, and change none of its files. Try a data set on images of real
size: those of a few pixels hide what real ones cost.
"""
