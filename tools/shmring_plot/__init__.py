"""Pictures of recordings: `distribution` and `series` are numbers only, `style` and `charts` draw.

The latter two need matplotlib (``pip install "shmring[plot]"``); importing them fails without it.
"""
