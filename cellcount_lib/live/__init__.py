"""Counting in a web page: the network and what follows it, without a server and without Python.

Modules
-------
assets: what the page loads, written by Python from the library and from ``vendor/``.
postprocess.js, picture.js, engine.js: the prediction once more, in JavaScript, as a worker.
read.js, shared.js: files into pictures, and what pages share.
page.js, count.css: what the reader sees.
"""
