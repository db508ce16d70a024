"""Labels in and out: what other programs write and read, as label images and back.

One module per format: `via`, `labelstudio` (with the codec of its brushes, `brush`), `cellpose`,
`geojson` (QuPath), `imagej`, `coco`, `labelimage`. `outlines` traces objects and fills rings,
`labelled` holds what a file says, `formats` lists and recognises them, `command` converts.

Outlines run along the edges of pixels, and a pixel belongs to an object if its centre is inside:
so every format gives back the very pixels. Label images and cellpose keep the numbers of objects;
elsewhere objects are numbered from 1 in the order of the file.
"""
