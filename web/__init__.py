"""A page to drop photos on, and the same by HTTP, in one process: `python app.py`.

    api: what the page and other programs call; photo: one file; jobs: a queue, one worker, temporary files; static: the
    page, whose strokes go on a mask of at most 2048 px, so that only this travels and not the picture
"""
