"""The course as it lies in a clone: chapters, tasks, steps, tags, and how far a learner is."""
