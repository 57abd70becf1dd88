"""The lessons' pictures: what exists after each chapter, drawn as SVG.

`shapes.py` is the visual language: a shape for each kind of thing. `stage.py` says where things
stand, the same in every picture. `story.py` says what each chapter adds: its things are new and in
colour, all others are there and grey, so that the series reads as a film. `drawing.py` makes a
whole SVG of a frame, `files.py` writes them to where the lessons show them.
"""
