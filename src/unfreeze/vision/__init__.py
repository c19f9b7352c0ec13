"""From files to arrays of pixels: reading images, labels and boxes, and transforms that move the boxes along; knows no model."""
