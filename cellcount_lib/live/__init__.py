"""Live pages: the network and what follows it, without a server and without Python.

Modules
-------
assets: what the pages load, written by Python from the library and from ``vendor/``.
blocks: the blocks of a network, and what a unit of each sees.
postprocess.js, picture.js, engine.js: the prediction once more, in JavaScript, as a worker.
read.js, shared.js: files into pictures, and what pages share.
page.js, blocks.js, count.css: counting, looking into a network, and how both look.
"""
