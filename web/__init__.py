"""A page to drop photos on, and the same by HTTP, in one process: `python app.py`.

    server      the command: options, socket, warning           photo   one file: limits, restored, what is shown of it
    api         what the page and other programs call           jobs    many: a queue, one worker, temporary files
    static      the page: HTML, script, style

The page is one of its own: Gradio's ImageEditor hands over background, layers and their composite as pictures of full
size, 12 megapixels each, and its slider for before and after is another widget without a brush. Here strokes go on a
mask of at most 2048 px that lies over both pictures, and only that mask travels.
"""
